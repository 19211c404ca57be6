"""A prior over the weights along a ray as a term of a fit."""

from typing import Any

import torch
from torch import Tensor

from scorereg.fit.patch_prior import check_levels
from scorereg.fit.term import Batch, FitContext, Term
from scorereg.rendering.volume import edge_depths
from scorereg.schedules import log_linear
from scorereg.score_loss.loss import ScoreLoss
from scorereg.transforms.ray_weights import RayWeights

__all__ = ["RayPrior"]


class RayPrior(Term):
    r"""`ScoreLoss` of the weights along some of a step's rays, in prior space.

    A renderer's weights lie on intervals of its own; `RayWeights` rebins them into the prior's bins, exactly, so the
    gradient reaches each interval that a bin overlaps. With $w(\sigma) = \sigma^2$ the gradient on a ray's x is
    `weight (x - D) / rays`.

    Args:
        prior: Denoiser over one channel of bins along a ray.
        transform: From weights to the prior's space; the card's, if not given.
        weight: Factor in the loss, >= 0.
        sigma: Noise level at the term's start and at the fit's end, in prior-space units.
        start: Share of the steps at which the term begins.
        rays: Number of rays it sees: the first of a step, which are random photo rays.

    Raises:
        ValueError: If the prior was not trained for these noise levels, or its card is not one of ray weights.
    """

    name = "ray_prior"

    def __init__(
        self,
        prior: Any,
        transform: RayWeights | None = None,
        *,
        weight: float = 1e-2,
        sigma: tuple[float, float] = (0.5, 0.05),
        start: float = 0.5,
        rays: int = 128,
    ) -> None:
        card = getattr(prior, "card", None)
        if transform is None and card is None:
            raise ValueError(
                "RayPrior needs a `transform` for a prior without a card: RayPrior(prior, RayWeights(...))."
            )
        if card is not None:
            check_levels(card, sigma)
        self.prior, self.transform = prior, RayWeights.for_card(prior.card) if transform is None else transform
        self.weight, self.sigma, self.start, self.count = weight, sigma, start, rays

    def bind(self, context: FitContext) -> None:
        steps = context.recipe.steps
        self._near, self._far = context.scene.near, context.scene.far
        levels = log_linear(*self.sigma, int(self.start * steps), max(steps, 1))
        self._score = ScoreLoss(self.prior, sigma=levels, weight=torch.square)

    def active(self, progress: float) -> bool:
        return progress >= self.start

    def factor(self, progress: float) -> float:
        return self.weight

    def __call__(self, batch: Batch) -> Tensor:
        edges = edge_depths(batch.render.edges[: self.count], self._near, self._far)
        return self._score(self.transform(batch.render.weights[: self.count], edges), step=batch.step)
