r"""Samplers that bring noise down to 0 level by level, each step guided by the measurement.

    ancestral   x' = x + (1 - q^2)(E - x) + sigma' sqrt(1 - q^2) n,   q = sigma' / sigma      (DPS, Pi-GDM, moment)
    diffpir     x' = E + sigma' (sqrt(1 - zeta) (x - E) / sigma + sqrt(zeta) n)

E is the estimate of the clean image: of `guidance` for the first, and prox(D(x), sigma / sqrt(weight)) for DiffPIR. In
variance-exploding units the first is DDPM's step (Ho et al. 2020, arXiv 2006.11239). Source of the second: Zhu et al.
2023 (arXiv 2305.08995), whose lambda is twice the weight here, as its images are in [0, 1] and its prior in [-1, 1].
"""

import itertools
from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

__all__ = ["ancestral", "implicit"]

Estimate = Callable[[Tensor, float], Tensor]


def ancestral(
    estimate: Estimate, x: Float[Tensor, "b c *space"], levels: Float[Tensor, " n"], noise: Callable[[], Tensor]
) -> Float[Tensor, "b c *space"]:
    """Follow the levels from the first to the last by ancestral steps; a last level of 0 gives the estimate itself.

    Args:
        estimate: The clean image, estimated from the noised one and its level.
        x: Images with noise of the first level.
        levels: Falling noise levels; only the last may be 0.
        noise: Draws standard normal noise of the images' shape.
    """
    for here, there in itertools.pairwise(levels.tolist()):
        left = (there / here) ** 2
        x = x + (1 - left) * (estimate(x, here) - x)
        if there > 0:
            x = x + there * (1 - left) ** 0.5 * noise()
    return x


def implicit(
    estimate: Estimate,
    x: Float[Tensor, "b c *space"],
    levels: Float[Tensor, " n"],
    noise: Callable[[], Tensor],
    *,
    zeta: float,
) -> Float[Tensor, "b c *space"]:
    """Follow the levels by DiffPIR's step, which keeps a part of the noise that is there.

    Args:
        estimate: The clean image, estimated from the noised one and its level.
        x: Images with noise of the first level.
        levels: Falling noise levels; only the last may be 0.
        noise: Draws standard normal noise of the images' shape.
        zeta: Share of the noise's variance that is drawn anew at each step, in [0, 1].
    """
    for here, there in itertools.pairwise(levels.tolist()):
        clean = estimate(x, here)
        if there == 0:
            return clean
        kept = (1 - zeta) ** 0.5 * (x - clean) / here
        x = clean + there * (kept + zeta**0.5 * noise())
    return x
