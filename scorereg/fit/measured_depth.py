"""Measured depth of the photos, of a sensor or of triangulated points, as a term of a fit."""

import warnings

import torch
from jaxtyping import Float
from torch import Tensor

from scorereg.fit.term import Batch, FitContext, Term
from scorereg.rendering.depth import surface_depth
from scorereg.rendering.volume import edge_depths, midpoints

__all__ = ["MeasuredDepth", "disparity_huber"]

MOST_OUTSIDE = 0.1  # share of the depth that may lie before near or behind far without a warning


class MeasuredDepth(Term):
    r"""Robust error of rendered disparity at photo rays whose pixel has measured depth: their mean `disparity_huber`.

    It uses the depth of the training photos alone (`Scene.depth`, 0 where unknown). The gradient reaches the weights
    through `surface_depth`, so it moves surfaces and grows no fog. Steps in which no ray has a depth add nothing.

    Args:
        weight: Factor in the loss, >= 0.
        delta: Relative error of disparity up to which the loss is quadratic, > 0; errors far above the sensor's noise,
            such as those of edges and reflections, pull no harder than one of this size.
        start: Share of the steps at which it begins.
        end: Share at which it ends.
        band: Width of the band of `surface_depth`; 0 uses the expected depth.

    Raises:
        ValueError: If an argument is out of its range; in a fit, if the training photos have no measured depth.
    """

    name = "depth"

    def __init__(
        self, weight: float = 0.1, *, delta: float = 0.05, start: float = 0.0, end: float = 1.0, band: float = 0.1
    ) -> None:
        if not (0 <= weight < float("inf") and 0 < delta < float("inf") and 0 <= start < end <= 1 and 0 <= band < 1):
            raise ValueError(
                "MeasuredDepth needs weight >= 0, delta > 0, 0 <= start < end <= 1 and a band of 0 or below 1; got "
                f"weight={weight:g}, delta={delta:g}, start={start:g}, end={end:g} and band={band:g}."
            )
        self.weight, self.delta, self.start, self.end, self.band = weight, delta, start, end, band

    def bind(self, context: FitContext) -> None:
        if context.depth is None or not context.depth.any():
            raise ValueError(
                f"{context.scene.name}: the training photos have no measured depth, so there is none to fit. Give "
                "depth maps of these photos, or leave the term (--depth) out."
            )
        self._depth, self._near, self._far = context.depth, context.scene.near, context.scene.far
        known = context.depth[context.depth > 0]
        outside = ((known < self._near) | (known > self._far)).float().mean().item()
        if outside > MOST_OUTSIDE:
            warnings.warn(
                f"{context.scene.name}: {outside:.0%} of the measured depth of the training photos (median "
                f"{known.median():.3g} m) lies outside of near {self._near:.3g} to far {self._far:.3g} m, where "
                "nothing is rendered. Check the unit of the depth maps, or give `near` and `far`.",
                stacklevel=2,
            )

    def active(self, progress: float) -> bool:
        return self.start <= progress < self.end

    def factor(self, progress: float) -> float:
        return self.weight

    def __call__(self, batch: Batch) -> Tensor:
        render, (column, row) = batch.photo, batch.pixel.long().unbind(-1)
        measured, depth = self._depth[batch.camera, row, column], render.depth
        if self.band > 0:
            depths = midpoints(edge_depths(render.edges, self._near, self._far))
            depth = surface_depth(render.weights, depths, depth, band=self.band)
        known = measured > 0
        error = disparity_huber(depth, torch.where(known, measured, 1.0), delta=self.delta)
        return torch.where(known, error, 0.0).sum() / known.sum().clamp_min(1)


def disparity_huber(
    depth: Float[Tensor, "*rays"], measured: Float[Tensor, "*rays"], *, delta: float
) -> Float[Tensor, "*rays"]:
    r"""Huber's loss of the relative error of disparity, $e = m / z - 1$, over $\delta$.

    $e^2 / 2 \delta$ up to $|e| = \delta$ and $|e| - \delta / 2$ beyond, so the slope is 1 at most. It depends on no
    unit of length. Differentiable to `depth`.

    Args:
        depth: Rendered planar depth z, > 0.
        measured: Measured planar depth m, > 0.
        delta: Where the loss becomes linear, > 0.
    """
    error = (measured / depth - 1).abs()
    return torch.where(error <= delta, error.square() / (2 * delta), error - delta / 2)
