"""Smoothness of depth where the photos show no edge: a term of a fit."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from scorereg.fit.term import Batch, FitContext, WeightedTerm

__all__ = ["Smoothness", "bend"]


class Smoothness(WeightedTerm):
    r"""How far the rendered surface bends where the photo does not change: `bend` of triplets of photo rays.

    Where photos have no texture, stereo says nothing and any depth explains their color. Disparity of a plane is
    linear in a photo, at any slant, so a surface that is not told otherwise becomes plane between the edges of the
    photo, where depth may jump (as in Godard 2019, eq. 3, with second differences in place of first).

    Args:
        weight: Factor in the loss, >= 0.
        reach: Largest distance of a triplet's pixels, as a share of the photos' width.
        contrast: Difference of color at which a triplet counts 1/e.
        bend: Second difference of disparity, in units of 1 / near, from which on it hardly costs more; so that surfaces
            of one color before each other stay apart. None for no such limit.
        share: Share of the photo rays that are triplets. More of them leave fewer photo rays that are independent.
        start: Share of the steps at which it begins. Early smoothness decides what coarse surfaces there are.
    """

    name = "smoothness"

    def __init__(
        self, weight: float = 0.1, *, reach: float = 0.03, contrast: float = 0.05, bend: float | None = None,
        share: float = 0.15, start: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(weight)
        self.reach, self.contrast, self.bend, self.share, self.start = reach, contrast, bend, share, start

    def bind(self, context: FitContext) -> None:
        self._near = context.scene.near

    def active(self, progress: float) -> bool:
        return progress >= self.start

    def triplets(self) -> tuple[float, float]:
        return self.share, self.reach

    def __call__(self, batch: Batch) -> Tensor:
        if not batch.triplets:
            return 0 * batch.render.depth.sum()
        last = slice(len(batch.color) - 3 * batch.triplets, len(batch.color))
        disparity = rearrange(self._near / batch.render[last].depth.clamp_min(1e-3), "(t three) -> t three", three=3)
        color = rearrange(batch.color[last], "(t three) c -> t three c", three=3)
        return bend(disparity, color, contrast=self.contrast, limit=self.bend).mean()


def bend(
    disparity: Float[Tensor, "t 3"], color: Float[Tensor, "t 3 3"], *, contrast: float, limit: float | None = None
) -> Float[Tensor, " t"]:
    r"""Second difference of disparity along triplets of pixels, weighted by how alike their colors are.

    $$ e^{-(|c_1 - c_2| + |c_3 - c_2|) / s} \, |d_1 - 2 d_2 + d_3| $$

    with the largest difference of the three channels, and for a limit l, $|x|$ replaced by $l |x| / (l + |x|)$.

    Args:
        disparity: Of the three pixels, the middle one second.
        color: Their colors in the photo.
        contrast: s.
        limit: l.
    """
    differ = (color[:, 0] - color[:, 1]).abs().amax(-1) + (color[:, 2] - color[:, 1]).abs().amax(-1)
    second = ((disparity[:, 0] - 2 * disparity[:, 1] + disparity[:, 2]).square() + 1e-6).sqrt()
    second = second if limit is None else limit * second / (limit + second)
    return torch.exp(-differ / contrast) * second
