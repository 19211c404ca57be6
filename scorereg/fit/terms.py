"""Built-in terms of a fit that need no prior: the photos, the unknown background, and the hand-made regularisers."""

import torch
from torch import Tensor

from scorereg import baselines
from scorereg.fit.smoothness import Smoothness
from scorereg.fit.term import Batch, FitContext, Term, WeightedTerm
from scorereg.rendering.background import background_variance
from scorereg.rendering.stereo import descriptors_count, patch_descriptors, photo_consistency, texture_strength

__all__ = [
    "Distortion",
    "Frustum",
    "Opacity",
    "Photo",
    "PhotoConsistency",
    "UnknownBackground",
    "WeightDecay",
    "geometric_terms",
    "photo_terms",
]


class Photo(Term):
    """Mean squared error of the photo rays' colors, before `Recipe.background`."""

    name = "photo"

    def __call__(self, batch: Batch) -> Tensor:
        return (batch.photo.rgb - batch.color).square().mean()


class UnknownBackground(Term):
    """Variance of the photo rays' colors before a background of any color: `rendering.background_variance`.

    With `Photo` before mid-grey it makes the expectation of the squared error over backgrounds.
    """

    name = "background"

    def __call__(self, batch: Batch) -> Tensor:
        return background_variance(batch.photo.opacity).mean()


class Opacity(WeightedTerm):
    """Squared shortfall of all rays from ending on something: `baselines.opacity`."""

    name = "opacity"

    def __call__(self, batch: Batch) -> Tensor:
        return baselines.opacity(batch.render.opacity).mean()


class Frustum(WeightedTerm):
    """Weight along all rays that lies where fewer than two training cameras look: `baselines.frustum`."""

    name = "frustum"

    def bind(self, context: FitContext) -> None:
        self._cameras = context.cameras

    def __call__(self, batch: Batch) -> Tensor:
        return baselines.frustum(batch.render, self._cameras).mean()


class Distortion(Term):
    """Spread of the weights along all rays, in log depth: `baselines.distortion`.

    Args:
        weight: Factor in the loss when it has fully risen, >= 0.
        start: Share of the steps at which it begins to rise, linearly; it has its weight after as long again.
    """

    name = "distortion"

    def __init__(self, weight: float = 1e-2, *, start: float = 0.25) -> None:
        self.weight, self.start = weight, start

    def __call__(self, batch: Batch) -> Tensor:
        return baselines.distortion(batch.render.weights, batch.render.edges).mean()

    def factor(self, progress: float) -> float:
        return self.weight * min(max(progress - self.start, 0) / max(self.start, 1e-9), 1.0)


class WeightDecay(WeightedTerm):
    """Mean squared entry of each parameter of the field's encoder, summed; for hash grids."""

    name = "decay"

    def bind(self, context: FitContext) -> None:
        encoder = getattr(context.field, "encoder", None)
        if encoder is None:
            raise ValueError(f"WeightDecay is for fields with an `encoder`, not for {type(context.field).__name__}.")
        self._parameters = list(encoder.parameters())

    def __call__(self, batch: Batch) -> Tensor:
        return torch.stack([p.square().mean() for p in self._parameters]).sum()


class PhotoConsistency(WeightedTerm):
    """Cost of matching along the photo rays: `rendering.photo_consistency`. Not at work with one photo alone.

    Args:
        weight: Factor in the loss for photos of `rendering.texture_strength` 1, >= 0; it is multiplied by that of the
            training photos, so that blank walls, on which matches are noise, pull less.
    """

    name = "consistency"

    def bind(self, context: FitContext) -> None:
        self._cameras = context.cameras
        self._maps = patch_descriptors(context.photos, context.masks)
        self._counts = None if context.masks is None else descriptors_count(context.masks)
        self._texture = texture_strength(self._maps, self._counts)

    def active(self, progress: float) -> bool:
        return len(self._cameras) > 1

    def __call__(self, batch: Batch) -> Tensor:
        seen, index, pixel = batch.photo, batch.camera, batch.pixel
        cost = photo_consistency(seen.weights, seen.points, index, pixel, self._maps, self._cameras, self._counts)
        return cost.mean()

    def factor(self, progress: float) -> float:
        return self.weight * self._texture


def photo_terms() -> list[Term]:
    """Return what every fit to photos begins with: their colors, before a background of unknown color."""
    return [Photo(), UnknownBackground()]


def geometric_terms(
    *,
    opacity: float = 2e-2,
    frustum: float = 1e-3,
    distortion: float = 1e-2,
    consistency: float = 5.5e-2,
    smoothness: float = 0.1,
) -> list[Term]:
    """Return the hand-made regularisers of a few-view fit with their weights; those of weight 0 are left out."""
    terms = [(Opacity, opacity), (Frustum, frustum), (Distortion, distortion), (PhotoConsistency, consistency)]
    terms.append((Smoothness, smoothness))
    return [make(weight) for make, weight in terms if weight > 0]
