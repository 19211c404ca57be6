"""What needs no training: total variation by descent, and the best linear filter."""

import torch
from jaxtyping import Float
from torch import Tensor

from examples.inverse_problems.operators import Case
from scorereg.restoration.problem import Problem
from scorereg.restoration.proximal import conjugate_gradients

__all__ = ["total_variation", "wiener"]


def total_variation(
    case: Case, shape: tuple[int, ...], weight: float, steps: int = 200, start: Tensor | None = None
) -> Float[Tensor, "b c h w"]:
    """Minimise the misfit and the smoothed total variation (Rudin, Osher and Fatemi 1992) with Adam.

    Args:
        case: The measurement.
        shape: Shape of the photos.
        weight: Factor of the mean absolute gradient, in units of the squared noise.
        steps: Steps of Adam.
        start: First guess; mid-grey if not given.
    """
    problem = Problem(case.measure, case.y, case.noise, shape)
    x = torch.full(shape, 0.5) if start is None else start.clone()
    x.requires_grad_()
    optimizer = torch.optim.Adam([x], lr=0.05, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        right = torch.nn.functional.pad(x.diff(dim=3), (0, 1))
        down = torch.nn.functional.pad(x.diff(dim=2), (0, 0, 0, 1))
        variation = (right.square() + down.square() + 1e-6).sqrt().sum()
        (problem.residual(x).square().sum() / 2 + weight / case.noise * variation).backward()
        optimizer.step()
        schedule.step()
    return x.detach()


def wiener(case: Case, shape: tuple[int, ...], train: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "b c h w"] | None:
    """Return the best linear estimate under the mean and power spectrum of other photos (Wiener 1949).

    Solves (A^T A / noise^2 + S^-1)(x - m) = A^T (y - A m) / noise^2 by conjugate gradients, with the covariance S that
    is diagonal in the Fourier basis. None if the operator is not linear.

    Args:
        case: The measurement.
        shape: Shape of the photos.
        train: Photos of the same size, to take mean and spectrum from.
    """
    problem = Problem(case.measure, case.y, case.noise, shape)
    if not problem.linear:
        return None
    mean = train.mean((0, 2, 3), keepdim=True)
    power = torch.fft.fft2(train - mean, norm="ortho").abs().square().mean((0, 1))
    frequency = torch.fft.fftfreq(power.shape[0])[:, None].square() + torch.fft.fftfreq(power.shape[1]).square()
    power = _smooth(power, frequency.sqrt()).clamp(min=1e-6)
    root = power.sqrt()  # x = m + S^(1/2) v, so that conjugate gradients start from white values

    def spread(v: Tensor) -> Tensor:
        return torch.fft.ifft2(root * torch.fft.fft2(v)).real

    x = mean.expand(shape).contiguous()
    right = -spread(problem.adjoint(problem.residual(x)))
    v = conjugate_gradients(lambda v: v + spread(problem.adjoint(problem.forward(spread(v)))), right, 200)
    return x + spread(v)


def _smooth(power: Tensor, radius: Tensor) -> Tensor:
    """Mean power on rings of equal frequency."""
    ring = (radius * 64).round().long()
    total = torch.zeros(int(ring.max()) + 1).index_add_(0, ring.flatten(), power.flatten())
    count = torch.zeros_like(total).index_add_(0, ring.flatten(), torch.ones(ring.numel()))
    return (total / count.clamp(min=1))[ring]
