r"""Annealed Langevin sampling of p(y | x) p_sigma(x), with the noise level falling to its smallest.

    g = -A^T r(x) + score_sigma(x),   M = (A^T A + 1 / sigma^2)^-1
    x' = x + e M g + M (sqrt(2 e - e^2) A^T n_1 + sqrt(2 e) n_2 / sigma)

M bounds the curvature from above, so a step e <= 1 is stable at every level and for every operator. The noise is that
of Langevin's equation, 2 e M, less what a step of finite size overshoots where the measurement decides: along A^T A the
variance is exact at every e. Exact in the limit of sigma to 0 and of many steps a level, for any prior and linear A. A
direction of prior variance S needs about S / (e sigma^2) steps, so it stays as it was at the level where it could last
follow; with N steps while sigma^2 falls by 2.7, its variance is too large by about 1 / (N e). Sources: Roberts and
Tweedie 1996; Jalal et al. 2021 (arXiv 2108.01368); Papandreou and Yuille 2010 for the noise.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from scorereg.restoration.denoising import ImageDenoiser
from scorereg.restoration.problem import Problem
from scorereg.restoration.proximal import conjugate_gradients

__all__ = ["langevin"]


def langevin(
    problem: Problem,
    denoiser: ImageDenoiser,
    x: Float[Tensor, "b c *space"],
    levels: Float[Tensor, " n"],
    *,
    step: float,
    inner: int,
    normal: Callable[[tuple[int, ...]], Tensor],
    report: Callable[[], None],
) -> Float[Tensor, "b c *space"]:
    """Return one draw for each image.

    Args:
        problem: The measurement, linear.
        denoiser: The prior.
        x: Images to start from, in prior space.
        levels: Falling noise levels, > 0.
        step: e, in (0, 1].
        inner: Steps at each level.
        normal: Draws standard normal noise of a shape.
        report: Called after each step.
    """
    for level in levels.tolist():

        def matrix(v: Tensor, level: float = level) -> Tensor:
            return problem.adjoint(problem.forward(v)) + v / level**2

        for _ in range(inner):
            with torch.no_grad():
                misfit = problem.residual(x)
            score = (denoiser.at(x, level) - x) / level**2
            along, free = (2 * step - step**2) ** 0.5, (2 * step) ** 0.5 / level
            pushed = problem.adjoint(along * normal(tuple(misfit.shape)) - step * misfit)
            x = x + conjugate_gradients(matrix, step * score + pushed + free * normal(tuple(x.shape)))
            report()
    return x
