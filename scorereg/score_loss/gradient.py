r"""Value and gradient of `ScoreLoss` at a patch, by one forward pass of the prior and none backward.

x, x_q       patch; query of the denoiser: x, or x + sigma n where noise is added
r            residual x - D(x_q, sigma), 0 at known values
k            coefficient: a number, or one per patch and channel
gradient     k r; the value is <r, k r> / 2
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from scorereg.priors.base import Prior, conditioning_args, without_autocast
from scorereg.score_loss.arguments import (
    Weight,
    budget_of,
    check_patch,
    free_values,
    level_of,
    not_finite,
    weight_of,
)
from scorereg.score_loss.autograd import Finish
from scorereg.score_loss.gate import Gate
from scorereg.score_loss.gradient_scale import (
    GradientReport,
    over_norm,
    over_rms,
    over_space,
    share_of_groups,
    share_of_tensor,
)

__all__ = ["ScoreGradient"]


class ScoreGradient(nn.Module):
    """Computes the gradient of `ScoreLoss`, its subclass, which documents the attributes and sets them."""

    prior: Prior
    sigma: float | int | Callable[[int], Any] | None
    weight: Weight
    channel_weights: Tensor | None
    normalize: Literal["rms"] | None
    budget: float | int | Callable[[int], Any] | None
    perturb: bool | Callable[[Tensor, Tensor], Tensor]
    against: Prior | None
    on_nonfinite: Literal["raise", "skip"]
    gate: Gate | None
    noise_range: tuple[float, float] | None
    same_scale: Tensor
    skipped: int
    last: GradientReport | None

    @torch.no_grad()
    def evaluate(
        self, patch: Tensor, sigma: Any, step: int | None, known: Tensor | None, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the loss, its gradient, and 1 where a value may move and 0 elsewhere (`None` without `known`).

        The arguments are those of `ScoreLoss`. The gradient is in single precision at least; none has a graph.
        """
        check_patch(patch, self.prior.channels)
        x = patch.detach().to(torch.float32 if patch.element_size() < 4 else patch.dtype)
        free = None if known is None else free_values(known, x)
        sigma = level_of(self.sigma if sigma is None else sigma, step, x, self.noise_range)
        level = sigma if isinstance(sigma, Tensor) else x.new_full((len(x),), sigma)
        weight = weight_of(self.weight, level, step) if self.budget is None else budget_of(self.budget, step)
        needed = isinstance(weight, Tensor) or weight > 0
        residual = self._residual(x, level, known, generator) if needed else 0 * x
        if self.gate is not None:
            weight = weight * self.gate(residual, level)
        if free is not None:
            residual = residual * free
        gradient = residual * self._coefficient(residual, free, sigma, weight)
        value = torch.dot(residual.flatten(), gradient.flatten()) * 0.5
        if not math.isfinite(value.item()):
            if self.on_nonfinite == "raise":
                raise ValueError(not_finite(patch, residual, self.prior.channels, step))
            value, gradient = self._skip_nonfinite(residual, gradient)
        return value, gradient, free

    def combine_at_patch(self, free: Tensor | None, scaler: torch.amp.GradScaler | None) -> Finish:
        """Return the function that scales the gradient of a patch by the data's gradient to the same patch.

        A budget holds for each patch and channel group, over the values that are free.
        """
        scale = partial(share_of_groups, free=free, together=self.same_scale)
        return partial(self._combine, scale, scaler)

    def combine_at_output(self, step: int, scaler: torch.amp.GradScaler | None) -> Finish:
        """Return the function that scales gradients of a module's output by the data's gradients to the same tensors.

        A budget holds for each tensor as a whole.
        """
        ratio = 1.0 if self.budget is None else budget_of(self.budget, step)
        return partial(self._combine, partial(share_of_tensor, ratio=ratio), scaler)

    def _combine(
        self,
        scale: Callable[[Tensor, Tensor], Tensor],
        scaler: torch.amp.GradScaler | None,
        gradients: tuple[Tensor, ...],
        arriving: tuple[Tensor | None, ...],
    ) -> tuple[Tensor, ...]:
        pairs = zip(gradients, arriving, strict=True)
        data = tuple(torch.zeros_like(g) if other is None else other.to(g.dtype) for g, other in pairs)
        if self.budget is not None:  # relative to the data's gradient, which the scaler has scaled already
            gradients = tuple(scale(g, other) for g, other in zip(gradients, data, strict=True))
        elif scaler is not None:
            gradients = tuple(scaler.scale(g) for g in gradients)
        self.last = GradientReport(data, gradients)
        return gradients

    def _residual(self, x: Tensor, level: Tensor, known: Tensor | None, generator: torch.Generator | None) -> Tensor:
        """The residual x - D(x_q, sigma), or that of the second denoiser, D_against(x_q, sigma) - D(x_q, sigma)."""
        mask = conditioning_args(self.prior, known)
        query, noise = x, None
        if self.perturb:
            noise = self.perturb(x, level) if callable(self.perturb) else _normal(x, generator)
            noise = _checked(noise, x, "The function given as `perturb`") * over_space(level, x.ndim)
            noise = noise * ~mask[0] if mask else noise  # a conditional prior takes known values without noise
            query = x + noise
        with without_autocast(x.device):  # sigma goes down to 0.01, where half precision is noise
            removed = _removed(self.prior, query, level, *mask)
            if self.against is not None:
                return removed - _removed(self.against, query, level)
        return removed if noise is None else removed - noise

    def _coefficient(
        self, residual: Tensor, free: Tensor | None, sigma: Tensor | float, weight: Tensor | float
    ) -> Tensor | float:
        """The factor k of the residual: a number, or broadcastable to it.

        Numbers stay Python numbers as long as they can: beside a small network every operation on a tensor counts.
        """
        if self.budget is not None:
            factor = over_space(weight, 2) * over_norm(residual, self.same_scale)
        elif self.normalize is not None:
            root, over = over_rms(residual, free, self.same_scale)
            factor = over_space(weight, 2) / len(residual) * root * over
        else:
            factor = weight / len(residual) / (sigma * sigma)
        factor = over_space(factor, residual.ndim)
        if self.channel_weights is not None:
            factor = factor * over_space(self.channel_weights.to(residual)[None], residual.ndim)
        return factor

    def _skip_nonfinite(self, residual: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Value and gradient without the patches that are not finite, which are counted."""
        values = (residual * gradient).flatten(1).sum(dim=1) / 2
        good = values.isfinite()
        self.skipped += int((~good).sum())
        return values[good].sum(), torch.where(over_space(good, gradient.ndim), gradient, 0.0)


def _normal(x: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)


def _removed(prior: Any, x: Tensor, level: Tensor, *mask: Tensor) -> Tensor:
    """Residual x - D(x), by the prior's `residual` where it has one: the difference with D loses digits."""
    direct = getattr(prior, "residual", None)
    if direct is not None:
        return _checked(direct(x, level, *mask), x, "The prior's residual(x, sigma)")
    return x - _checked(prior.denoise(x, level, *mask), x, "The prior's denoise(x, sigma)")


def _checked(returned: Tensor, x: Tensor, source: str) -> Tensor:
    if returned.shape != x.shape:
        raise ValueError(
            f"{source} must return the shape of x, {tuple(x.shape)}, but it returned {tuple(returned.shape)}."
        )
    return returned.to(x.dtype)
