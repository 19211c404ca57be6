r"""Half-quadratic splitting: the denoiser and the measurement in turns, while the noise level falls.

    z_k = D(x_k, sigma_k)
    x_k+1 = argmin_x |r(x)|^2 / 2 + weight |x - z_k|^2 / (2 sigma_k^2)

A fixed point at a level solves A^T r(x) = weight score(x): it is the mode of p(y | x) p_sigma(x)^weight, which gradient
descent (`annealed`, `red`) goes to as well; this is that descent with (A^T A + weight / sigma^2)^-1 as its step.
Source: Geman and Yang 1995; with denoisers as priors, Zhang et al. 2021 (DPIR, arXiv 2008.13751), where weight is 0.23.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from scorereg.restoration.denoising import ImageDenoiser
from scorereg.restoration.problem import Problem
from scorereg.restoration.proximal import proximal_step

__all__ = ["half_quadratic"]


def half_quadratic(
    problem: Problem,
    denoiser: ImageDenoiser,
    x: Float[Tensor, "b c *space"],
    levels: Float[Tensor, " n"],
    *,
    weight: float,
    free: Tensor | None,
    report: Callable[[Tensor], bool],
) -> Float[Tensor, "b c *space"]:
    """Return the last denoised image z.

    Args:
        problem: The measurement.
        denoiser: The prior.
        x: Image to start from, in prior space.
        levels: Noise level of each step.
        weight: Strength of the prior.
        free: Values that may move.
        report: Is given z after each step, and returns whether to stop.
    """
    z = x
    for level in levels.tolist():
        z = denoiser.at(x, level)
        z = z if free is None else torch.where(free, z, x)
        if report(z):
            break
        x = proximal_step(problem, z, level / weight**0.5, free)
    return z
