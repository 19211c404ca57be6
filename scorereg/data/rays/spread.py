r"""Distribution of a ray's weight around the surfaces that it meets, integrated over bins in closed form.

surfaces   n s      planar depths that the sub-rays of a ray's footprint meet, metres
shares     n s      weights of the sub-rays, >= 0; their sum is the ray's opacity
edges      k+1      planar depths of the bin edges, metres
weights    n k      weights of the bins: differences of the cumulative distribution, exact for any bins
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["KINDS", "Spread", "bin_surfaces", "draw_spread"]

KINDS = ("sharp", "sensor", "rendered")
_CHANCE = (0.25, 0.3, 0.45)
_WIDTH = ((1e-4, 1e-4), (0.001, 0.02), (0.002, 0.1))  # from, to; log-uniform
_CUT = (2.0, 6.0)


@dataclass(frozen=True)
class Spread:
    r"""Distributions of weight around a surface at depth z, one for each ray.

    | kind | density of the weight at depth t | models |
    |---|---|---|
    | sharp | all at z | exact depth |
    | sensor | normal around z, standard deviation width z^2 | a triangulating sensor with noisy disparity |
    | rendered | exponential from z on, mean width z, cut after `cut` means | a fitted density behind a surface |

    Each integrates to 1.

    Args:
        kind: Index into `KINDS`.
        width: In 1 / m for `sensor`, dimensionless for `rendered`, unused for `sharp`.
        cut: Thickness of a `rendered` surface, in mean lengths.
    """

    kind: Int[Tensor, " n"]
    width: Float[Tensor, " n"]
    cut: Float[Tensor, " n"]

    def below(self, t: Float[Tensor, "#n #s k"], z: Float[Tensor, "n s #k"]) -> Float[Tensor, "n s k"]:
        """Return the cumulative distribution: the fraction of the weight of a surface at z that lies before t."""
        width, cut = self.width[:, None, None], self.cut[:, None, None]
        normal = torch.special.ndtr((t - z) / (width * z.square()))
        inside = -torch.expm1(-((t - z) / (width * z)).clamp(min=0).minimum(cut))
        exponential = inside / -torch.expm1(-cut)
        kind = self.kind[:, None, None]
        return torch.where(kind == 0, (t > z).to(t), torch.where(kind == 1, normal, exponential))


def draw_spread(count: int, generator: torch.Generator) -> Spread:
    """Draw the distribution of each ray: its kind with fixed probabilities, its width log-uniformly."""
    kind = torch.multinomial(torch.tensor(_CHANCE), count, replacement=True, generator=generator)
    low, high = torch.tensor(_WIDTH).log()[kind].unbind(-1)
    width = (low + (high - low) * torch.rand(count, generator=generator)).exp()
    cut = _CUT[0] + (_CUT[1] - _CUT[0]) * torch.rand(count, generator=generator)
    return Spread(kind, width, cut)


def bin_surfaces(
    surfaces: Float[Tensor, "n s"], shares: Float[Tensor, "n s"], spread: Spread, edges: Float[Tensor, " k"]
) -> Float[Tensor, "n k-1"]:
    """Return the weights of bins; weight before the first or behind the last bin is added to that bin.

    Args:
        surfaces: Planar depths > 0, in metres.
        shares: Weight of each surface in its ray.
        spread: Distribution around the surfaces of each ray.
        edges: Planar depths of the bin edges, in metres, increasing.
    """
    inner = spread.below(edges[None, None, 1:-1], surfaces[:, :, None])
    total = shares.sum(-1, keepdim=True)
    reached = torch.einsum("nsk,ns->nk", inner, shares)
    return torch.cat([torch.zeros_like(total), reached, total], -1).diff(dim=-1).clamp_min(0)
