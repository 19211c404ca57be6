"""The prior over ray weights as a term of a fit."""

import torch
from torch import Tensor

from scorereg import Prior, RayWeights, ScoreLoss
from scorereg.rendering import Render
from scorereg.schedules import log_linear

__all__ = ["RayTerm"]


class RayTerm:
    r"""`weight` times `ScoreLoss` of the weights along some of a step's rays, in prior space.

    It is `extra` of `fit_scene`: called with what was rendered, it returns a scalar. A renderer's weights lie on
    intervals of its own; `RayWeights` rebins them into the prior's bins, exactly, so the gradient reaches each
    interval that a bin overlaps. With $w(\sigma) = \sigma^2$ the gradient to a ray's x is `weight (x - D) / rays`.

    Args:
        prior: Over one channel of bins along a ray.
        transform: From weights to its space.
        near: Planar depth in metres at which rays begin, > 0.
        far: Planar depth in metres at which they end.
        weight: Of the term.
        sigma: Noise level when it begins and at the fit's end.
        steps: Of the fit.
        start: When it begins, as a share of the steps.
        rays: How many of a step's rays it sees; the first, which are random ones.
    """

    def __init__(
        self,
        prior: Prior,
        transform: RayWeights,
        *,
        near: float,
        far: float,
        weight: float,
        sigma: tuple[float, float],
        steps: int,
        start: float = 0.5,
        rays: int = 128,
    ) -> None:
        self.transform, self.near, self.far, self.rays = transform, near, far, rays
        self.first, self.weight = int(start * steps), weight
        self.score = ScoreLoss(prior, sigma=log_linear(*sigma, self.first, max(steps, 1)), weight=torch.square)

    def __call__(self, shown: Render, step: int) -> Tensor:
        """The term's value, weighted; 0 before it begins."""
        if step < self.first:
            return shown.weights.new_zeros(())
        edges = self.near * (self.far / self.near) ** shown.edges[: self.rays]
        return self.weight * self.score(self.transform(shown.weights[: self.rays], edges), step=step)
