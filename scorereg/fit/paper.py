"""The hand-made terms of DiffusioNeRF as published, without stereo: what its prior is compared with, and added to.

The released code (nianticlabs/diffusionerf, 2023) sums its terms over 1024 photo rays and the 2304 rays of one patch a
step, beside the mean squared error of the photo rays:

    opacity      1e-3 sum (1 - A)^2                             photo rays
    frustum      1e-5 (1, after a hundredth of the steps .01)  sum w max(0, k - count)
                 k = 2 on photo rays, 1 on those of patches
    distortion   1.5e-5 (LLFF) or 1e-4 (DTU)                    sum over rays of the distortion of depth, divided by
                 the expected depth, 0 where that is below 1e-3; from .3 of the steps on, whole from .8 on

Here the sums are means times these numbers of rays, so that they are as strong with any number of rays. The background
is white. Of DTU the paper leaves the frustum term out, as it does here of all objects (`Scene.kind`). Not taken over:
the weight decay of the density network (1e-7), and that the released code gives an interval's own width no part in the
distortion.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from scorereg import baselines
from scorereg.fit.recipe import Recipe
from scorereg.fit.term import Batch, FitContext, Term
from scorereg.fit.terms import Photo
from scorereg.ops import distortion
from scorereg.rendering.background import BACKGROUND
from scorereg.rendering.volume import Render, edge_depths, midpoints
from scorereg.scenes import SceneKind

__all__ = ["PAPER_BACKGROUND", "PaperDistortion", "PaperFrustum", "PaperOpacity", "on_paper_background", "paper_terms"]

PAPER_BACKGROUND = 1.0  # white
PHOTO_RAYS, PATCH_RAYS = 1024, 48 * 48


class PaperOpacity(Term):
    """Squared shortfall of the photo rays from ending on something: `baselines.opacity`.

    Args:
        weight: Factor of the published sum over 1024 photo rays, >= 0.
    """

    name = "opacity"

    def __init__(self, weight: float = 1e-3) -> None:
        self.weight = weight

    def __call__(self, batch: Batch) -> Tensor:
        return baselines.opacity(batch.photo.opacity).mean()

    def factor(self, progress: float) -> float:
        return PHOTO_RAYS * self.weight


class PaperFrustum(Term):
    """Weight that lies where fewer than two training cameras look, or, on the rays of patches, none.

    Args:
        weight: Factor of the published sum over rays in the first hundredth of the steps, >= 0; then a hundredth of it.
        kind: Kind of the scene, without this term for an object; the scene's own, if None.
    """

    name = "frustum"

    def __init__(self, weight: float = 1e-5, *, kind: SceneKind | None = None) -> None:
        self.weight, self.kind = weight, kind

    def bind(self, context: FitContext) -> None:
        self._cameras = context.cameras
        self._off = (self.kind or context.scene.kind) == "object"

    def active(self, progress: float) -> bool:
        return not self._off

    def __call__(self, batch: Batch) -> Tensor:
        count = len(batch.color)
        each = [
            baselines.frustum(part, self._cameras, views=views)
            for part, views in ((batch.photo, 2), (batch.render[count:], 1))
            if len(part.depth)
        ]
        return _as_published(torch.cat(each), count)

    def factor(self, progress: float) -> float:
        return PHOTO_RAYS * self.weight * (1.0 if progress < 0.01 else 0.01)


class PaperDistortion(Term):
    """Spread of the weights along all rays in depth, in expected depths: `ops.distortion`.

    Args:
        weight: Factor of the published sum over rays when it has fully risen, >= 0; 1e-4 for an object and 1.5e-5 for
            other scenes, if None.
        kind: Kind of the scene; the scene's own, if None.
        start: Share of the steps at which it begins to rise, linearly.
        end: Share of the steps at which it has its weight.
        floor: Rays of a smaller spread are left alone.
    """

    name = "distortion"

    def __init__(
        self,
        weight: float | None = None,
        *,
        kind: SceneKind | None = None,
        start: float = 0.3,
        end: float = 0.8,
        floor: float = 1e-3,
    ) -> None:
        if not 0 <= start < end <= 1:
            raise ValueError(f"PaperDistortion needs 0 <= start < end <= 1; got {start:g} and {end:g}.")
        self.weight, self.kind, self.start, self.end, self.floor = weight, kind, start, end, floor

    def bind(self, context: FitContext) -> None:
        self._range = context.scene.near, context.scene.far
        known = 1e-4 if (self.kind or context.scene.kind) == "object" else 1.5e-5
        self._weight = known if self.weight is None else self.weight

    def active(self, progress: float) -> bool:
        return progress > self.start

    def __call__(self, batch: Batch) -> Tensor:
        return _as_published(self._spread(batch.render), len(batch.color))

    def _spread(self, render: Render) -> Float[Tensor, " r"]:
        depths = edge_depths(render.edges, *self._range)
        expected = (render.weights * midpoints(depths)).sum(-1)
        each = distortion(render.weights, depths) / (expected + 1e-6)
        return torch.where(each < self.floor, 0.0, each)

    def factor(self, progress: float) -> float:
        return PHOTO_RAYS * self._weight * min((progress - self.start) / (self.end - self.start), 1.0)


def paper_terms(*, kind: SceneKind | None = None) -> list[Term]:
    """Return photos, opacity, frustum and distortion as published; for a fit before `PAPER_BACKGROUND`.

    Args:
        kind: Kind of the scene, which decides of frustum and distortion; the scene's own, if None.
    """
    return [Photo(), PaperOpacity(), PaperFrustum(kind=kind), PaperDistortion(kind=kind)]


def on_paper_background(recipe: Recipe) -> Recipe:
    """Return a recipe with the paper's background in place of the default one; another one is kept."""
    return replace(recipe, background=PAPER_BACKGROUND) if recipe.background == BACKGROUND else recipe


def _as_published(each: Float[Tensor, " r"], photos: int) -> Float[Tensor, ""]:
    """The published sum over all rays, in units of 1024 rays: a mean over photo rays, and one over those of patches."""
    mean = each[:photos].mean()
    return mean if len(each) == photos else mean + PATCH_RAYS / PHOTO_RAYS * each[photos:].mean()
