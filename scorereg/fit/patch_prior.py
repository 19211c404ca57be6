"""A prior over RGB-D patches as a term of a fit, on rendered views from near the training cameras."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from einops import rearrange
from torch import Tensor

from scorereg.cameras import Rays
from scorereg.estimators import EstimatorName, by_name
from scorereg.fit.term import Batch, FitContext, Term
from scorereg.priors.card import PriorCard
from scorereg.rendering.depth import surface_depth
from scorereg.rendering.patches import PatchSampler
from scorereg.rendering.volume import Render, edge_depths, midpoints
from scorereg.schedules import log_linear
from scorereg.score_loss.vsd import RenderDenoiser
from scorereg.transforms import RGBD

__all__ = ["PatchPrior", "check_levels"]


class PatchPrior(Term):
    """`ScoreLoss` of RGB-D patches that are rendered from near the training cameras.

    Moments are shares of the fit's steps. Depth is divided by opacity before the prior sees it.

    Args:
        prior: Denoiser over patches with channels r, g, b and disparity, with a card.
        patches: Patches a step, each of the prior's size.
        focal: Focal lengths of patches in pixels, from and to; None takes the card's.
        translation: Largest shift of a patch's camera from a training camera along each axis, in metres.
        rotation: Largest angle by which it is turned, in radians.
        photo_fraction: Share of the patches that keep a training camera and show its photo's colors to the prior.
        sigma: Noise level at the term's start and at its end, in prior-space units.
        start: When the term begins.
        end: When it ends; from there on the photos sharpen again what the prior has smoothed.
        disparity: Weight of the gradient on disparity.
        rgb: Weight of the gradient on colors.
        band: Width of the band of `surface_depth`, through which the gradient reaches depth; 0 uses the expected depth.
        weight: w(sigma) of `ScoreLoss`.
        estimator: How the score is estimated: a name of `estimators.by_name`.
        gate: Quantile of clean patches' residuals beyond which a patch counts less; None for all alike.
        normalize: Passed to `ScoreLoss`.
        depth: Whether patches at a training camera show the measured depth of its photo to the prior, where known.

    Raises:
        ValueError: If the prior's card is not one of RGB-D patches of cameras, or does not know the noise levels.
    """

    name = "prior"

    def __init__(
        self,
        prior: Any,
        *,
        patches: int = 3,
        focal: tuple[float, float] | None = None,
        translation: float = 0.2,
        rotation: float = 0.3,
        photo_fraction: float = 0.5,
        sigma: tuple[float, float] = (0.1, 0.038),
        start: float = 0.5,
        end: float = 0.8,
        disparity: float = 5e-3,
        rgb: float = 2e-3,
        band: float = 0.1,
        weight: Callable[..., Any] | float = torch.square,
        estimator: EstimatorName = "direct",
        gate: float | None = None,
        normalize: Literal["rms"] | None = None,
        depth: bool = False,
    ) -> None:
        if not 0 <= start < end <= 1:
            raise ValueError(f"PatchPrior needs 0 <= start < end <= 1, or it is never used; got {start:g} and {end:g}.")
        self.prior, self.patches, self.focal = prior, patches, focal
        self.translation, self.rotation, self.photo_fraction = translation, rotation, photo_fraction
        self.sigma, self.start, self.end = sigma, start, end
        self.disparity, self.rgb, self.band = disparity, rgb, band
        self.weight, self.gate, self.depth = weight, gate, depth
        self.estimator: EstimatorName = estimator
        self.normalize: Literal["rms"] | None = normalize
        self._transform, self._focal = _usable(prior.card, focal, sigma)
        self._denoiser = None

    def bind(self, context: FitContext) -> None:
        steps = context.recipe.steps
        self._generator, self._scene = context.generator, context.scene
        self._sampler = PatchSampler(
            context.cameras,
            context.photos,
            size=self.prior.card.size[0],
            focal=self._focal,
            translation=self.translation,
            rotation=self.rotation,
            photo_fraction=self.photo_fraction,
            masks=context.masks,
            depth=context.depth if self.depth else None,
        )
        self._denoiser = RenderDenoiser(self.prior) if self.estimator == "vsd" else None
        first, last = int(self.start * steps), int(self.end * steps)
        self._levels = log_linear(*self.sigma, first, max(last, first + 1))
        self._score = by_name(
            self.estimator,
            self.prior,
            w=self.weight,
            render_denoiser=self._denoiser,
            sigma=self._levels,
            channel_weights={"rgb": self.rgb, "disparity": self.disparity},
            normalize=self.normalize,
            gate=self.gate,
        )

    def active(self, progress: float) -> bool:
        return self.start <= progress < self.end

    def rays(self, step: int) -> Rays:
        self._drawn = self._sampler.sample(self.patches, generator=self._generator)
        return self._drawn.rays.flatten()

    def __call__(self, batch: Batch) -> Tensor:
        render, drawn = batch.requested, self._drawn
        b, p, _ = drawn.rays.shape
        rgb = rearrange(render.rgb, "(b h w) c -> b c h w", b=b, h=p)
        rgb = torch.where(drawn.shown[:, None], drawn.photo, rgb)
        depth = rearrange(self._depth(render), "(b h w) -> b h w", b=b, h=p)
        measured = None if drawn.depth is None else drawn.depth > 0
        if drawn.depth is not None:
            depth = torch.where(drawn.depth > 0, drawn.depth, depth)
        known = self._transform.photo_mask(drawn.shown, measured)
        patch = self._transform(rgb, depth)
        if self._denoiser is not None:
            self._denoiser.learn(patch, self._levels(batch.step), self._generator)
        return self._score(patch, step=batch.step, known=known, generator=self._generator)

    def report(self) -> dict[str, Tensor]:
        gate = self._score.gate
        return {} if gate is None or gate.factor is None else {"gate": gate.factor.mean()}

    def state_dict(self) -> dict[str, Any]:
        return {} if self._denoiser is None else self._denoiser.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self._denoiser is not None:
            self._denoiser.load_state_dict(state)

    def _depth(self, render: Render) -> Tensor:
        """The depth that the prior sees, with the gradient that moves a surface."""
        if self.band == 0:
            return render.depth
        depths = midpoints(edge_depths(render.edges, self._scene.near, self._scene.far))
        return surface_depth(render.weights, depths, render.depth, band=self.band)


def check_levels(card: PriorCard, sigma: tuple[float, float]) -> None:
    """Refuse noise levels that the prior was not trained for, before a fit and not in its midst.

    Raises:
        ValueError: If one lies outside the card's range.
    """
    if not card.sigma_min <= min(sigma) <= max(sigma) <= card.sigma_max:
        raise ValueError(
            f"a fit asks the prior {card.name!r} at sigma {sigma[0]:g} to {sigma[1]:g}, but it was trained for "
            f"{card.sigma_min:g} to {card.sigma_max:g}. Choose another prior, or a `sigma` within its range."
        )


def _usable(
    card: PriorCard, focal: tuple[float, float] | None, sigma: tuple[float, float]
) -> tuple[RGBD, tuple[float, float] | float]:
    """The transform into the prior's space and the focal lengths of its patches."""
    transform = RGBD.for_card(card)
    focal = focal or card.focal
    if len(card.size) != 2 or card.size[0] != card.size[1]:
        raise ValueError(
            f"the card of the prior {card.name!r} has patches of {card.size or 'no'} size; a fit renders square ones. "
            "Say it: load_prior(..., size=(48, 48)), or as `size` in the card."
        )
    if focal is None:
        raise ValueError(
            f"the card of the prior {card.name!r} has no focal length, so nothing says what its patches see. "
            "Say it: PatchPrior(prior, focal=(low, high)), or as `focal` in the card, in pixels."
        )
    check_levels(card, sigma)
    return transform, focal
