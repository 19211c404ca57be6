r"""The data step of splitting methods: the image near a given one that explains the measurement.

    prox(z, tau) = argmin_x |r(x)|^2 / 2 + |x - z|^2 / (2 tau^2)

For a linear operator (A^T A + 1 / tau^2) (x - z) = -A^T r(z), solved by conjugate gradients (Hestenes, Stiefel 1952).
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from scorereg.restoration.problem import Problem, sums

__all__ = ["conjugate_gradients", "proximal_step"]

_ITERATIONS = 40
_TOLERANCE = 1e-4
_DESCENT = 12  # gradient steps for an operator that is not linear


def proximal_step(
    problem: Problem,
    z: Float[Tensor, "b c *space"],
    tau: float,
    free: Bool[Tensor, "..."] | None = None,
    *,
    iterations: int = _ITERATIONS,
) -> Float[Tensor, "b c *space"]:
    """Return prox(z, tau), exact to a relative residual of 1e-4 if the operator is linear, else improved by descent.

    Args:
        problem: The measurement.
        z: Image to stay near, in prior space.
        tau: How near: standard deviation in prior-space units.
        free: Values that may move; all, if not given.
        iterations: Most iterations of conjugate gradients.
    """
    if not problem.linear:
        return _descend(problem, z, tau, free)
    precision = tau**-2

    def matrix(v: Tensor) -> Tensor:
        return _only(problem.adjoint(problem.forward(_only(v, free))), free) + precision * v

    with torch.no_grad():
        pull = _only(problem.adjoint(problem.residual(z)), free)
    return z + conjugate_gradients(matrix, -pull, iterations)


def conjugate_gradients(matrix: Callable[[Tensor], Tensor], right: Tensor, iterations: int = _ITERATIONS) -> Tensor:
    """Solve `matrix(x) = right` for each sample of a batch, with a positive definite matrix, from x = 0.

    Args:
        matrix: Product with the matrix.
        right: Right-hand side, batch first.
        iterations: Most iterations; it stops at a relative residual of 1e-4 of every sample.
    """
    x = torch.zeros_like(right)
    rest, direction = right.clone(), right.clone()
    size = sums(rest.square(), rest)
    enough = size * _TOLERANCE**2
    for _ in range(iterations):
        if bool((size <= enough).all()):
            break
        product = matrix(direction)
        step = size / sums(direction * product, direction).clamp(min=1e-30)
        step = torch.where(size > enough, step, 0.0)  # a solved sample stays as it is
        x, rest = x + step * direction, rest - step * product
        before, size = size, sums(rest.square(), rest)
        direction = rest + size / before.clamp(min=1e-30) * direction
    return x


def _descend(problem: Problem, z: Tensor, tau: float, free: Tensor | None) -> Tensor:
    """Gradient steps with the step of Barzilai and Borwein (1988), each halved until the objective falls."""

    def objective(x: Tensor) -> tuple[Tensor, Tensor]:
        value, gradient = problem.gradient(x)
        away = x - z
        value = value.reshape(-1, *[1] * (x.ndim - 1)) + sums(away.square(), x) / (2 * tau**2)
        return value, _only(gradient + away / tau**2, free)

    x = z
    value, gradient = objective(x)
    step = 0.1 * tau / (sums(gradient.square(), x) / gradient[0].numel()).sqrt().clamp(min=1e-12)
    for _ in range(_DESCENT):
        there = x - step * gradient
        new, slope = objective(there)
        for _ in range(8):
            if not bool((new > value).any()):
                break
            step = torch.where(new > value, step / 4, step)
            there = x - step * gradient
            new, slope = objective(there)
        better = new <= value
        moved, turned = there - x, slope - gradient
        x, value = torch.where(better, there, x), torch.where(better, new, value)
        gradient = torch.where(better, slope, gradient)
        curve = sums(moved * turned, x)
        step = torch.where(better & (curve > 0), sums(moved.square(), x) / curve.clamp(min=1e-30), step)
    return x


def _only(values: Tensor, free: Tensor | None) -> Tensor:
    return values if free is None else values * free
