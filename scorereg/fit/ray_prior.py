"""A prior over ray weights as a term of a fit: the place where the weights that a render shows meet their prior."""

import torch
from torch import Tensor

from scorereg.fit.patch_prior import check_levels, known_as
from scorereg.priors.base import Prior
from scorereg.rendering.volume import Render, edge_depths
from scorereg.schedules import log_linear
from scorereg.score_loss.loss import ScoreLoss
from scorereg.transforms.ray_weights import RayWeights

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
        steps: Of the fit.
        weight: Of the term.
        sigma: Noise level when it begins and at the fit's end.
        start: When it begins, as a share of the steps.
        rays: How many of a step's rays it sees; the first, which are random ones.

    Raises:
        ValueError: If the prior was not trained for these noise levels.
    """

    def __init__(
        self,
        prior: Prior,
        transform: RayWeights,
        *,
        near: float,
        far: float,
        steps: int,
        weight: float = 1e-2,
        sigma: tuple[float, float] = (0.5, 0.05),
        start: float = 0.5,
        rays: int = 128,
    ) -> None:
        self.transform, self.near, self.far, self.rays = transform, near, far, rays
        self.first, self.weight = int(start * steps), weight
        card = getattr(prior, "card", None)
        if card is not None:
            check_levels(card, sigma)
        self._name = f"{known_as(prior)}, {weight}, {sigma}, {rays}"
        self.score = ScoreLoss(prior, sigma=log_linear(*sigma, self.first, max(steps, 1)), weight=torch.square)

    def __repr__(self) -> str:
        """What it is, by which a fit that is gone on with knows it again."""
        return f"RayTerm({self._name}, from step {self.first})"

    def __call__(self, shown: Render, step: int) -> Tensor:
        """The term's value, weighted; 0 before it begins."""
        if step < self.first:
            return shown.weights.new_zeros(())
        edges = edge_depths(shown.edges[: self.rays], self.near, self.far)
        return self.weight * self.score(self.transform(shown.weights[: self.rays], edges), step=step)
