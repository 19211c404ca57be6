r"""Estimates of the clean image from a noised one and the measurement: denoised, and guided by the likelihood.

    x = x_0 + sigma n,   D = D(x, sigma),   r, A whitened       E[x_0 | x, y] = D + sigma^2 grad_x log p(y | x)

    dps       grad log p(y | x) = -weight grad_x |noise r(D)|                       norm of the misfit
    pigdm     J^T A^T (v A A^T + I)^-1 (-r(D)),  v = sigma^2 s^2 / (sigma^2 + s^2)  x_0 given x has variance v
    moment    the same with sigma^2 A J A^T in place of v A A^T                     variance by Tweedie's formula

J is the Jacobian of D to x; s is the spread of the data, `spread`. The third is exact for Gaussian data and linear A,
as sigma^2 J is the covariance of x_0 given x. Sources: Chung et al. 2023 (DPS, arXiv 2209.14687); Song et al. 2023
(Pi-GDM, ICLR); Boys et al. 2023 (TMPD, arXiv 2310.06721).
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from scorereg.restoration.denoising import ImageDenoiser
from scorereg.restoration.problem import Problem
from scorereg.restoration.proximal import conjugate_gradients

__all__ = ["dps_estimate", "pigdm_estimate"]

_ITERATIONS = 25


def dps_estimate(
    problem: Problem,
    denoiser: ImageDenoiser,
    x: Float[Tensor, "b c *space"],
    sigma: float,
    *,
    weight: float,
    clip: float,
) -> Float[Tensor, "b c *space"]:
    """Return the estimate of DPS.

    Args:
        problem: The measurement, linear or not.
        denoiser: A differentiable prior.
        x: Noised images in prior space.
        sigma: Their noise level.
        weight: Factor of the gradient; 1 in the paper, for images in [-1, 1].
        clip: Largest absolute value of the denoised image.
    """
    x = x.detach().requires_grad_()
    clean = denoiser.at(x, sigma, graph=True).clamp(-clip, clip)
    with torch.enable_grad():
        misfit = (problem.residual(clean) * problem.noise).flatten(1)
        norm = torch.linalg.vector_norm(misfit, dim=1)
    gradient = torch.autograd.grad(norm.sum(), x)[0]
    return clean.detach() - sigma**2 * weight * gradient


def pigdm_estimate(
    problem: Problem,
    denoiser: ImageDenoiser,
    x: Float[Tensor, "b c *space"],
    sigma: float,
    *,
    weight: float,
    clip: float,
    spread: float | None,
) -> Float[Tensor, "b c *space"]:
    """Return the estimate of Pi-GDM, or with `spread=None` that of moment matching.

    Args:
        problem: The measurement, linear.
        denoiser: A differentiable prior.
        x: Noised images in prior space.
        sigma: Their noise level.
        weight: Factor of the correction.
        clip: Largest absolute value of the denoised image.
        spread: Standard deviation of clean pixels, in prior-space units.
    """
    x = x.detach().requires_grad_()
    raw = denoiser.at(x, sigma, graph=True)
    clean = raw.detach().clamp(-clip, clip)

    def pull(v: Tensor) -> Tensor:
        return torch.autograd.grad(raw, x, v, retain_graph=True)[0]

    with torch.no_grad():
        misfit = problem.residual(clean)
    shared = conjugate_gradients(_covariance(problem, pull, sigma, spread), -misfit, _ITERATIONS)
    return clean + sigma**2 * weight * pull(problem.adjoint(shared))


def _covariance(
    problem: Problem, pull: Callable[[Tensor], Tensor], sigma: float, spread: float | None
) -> Callable[[Tensor], Tensor]:
    """Product with the covariance of the whitened measurement given x."""
    if spread is None:
        return lambda v: v + sigma**2 * problem.forward(pull(problem.adjoint(v)))
    variance = sigma**2 * spread**2 / (sigma**2 + spread**2)
    return lambda v: v + variance * problem.forward(problem.adjoint(v))
