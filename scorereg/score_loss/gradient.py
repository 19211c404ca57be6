"""Value and gradient of `ScoreLoss` at a patch, by one forward pass of the prior and none backward.

x, x_q       patch; query of the denoiser: x, or x + sigma n where noise is added
r            residual x - D(x_q, sigma), or with a second denoiser C(x_q, sigma) - D(x_q, sigma); 0 at known values
k            coefficient: a number, or one per patch and channel
gradient     k r; the value is <r, k r> / 2
"""

import math
import operator
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from scorereg.priors.base import Prior, conditioning_args, without_autocast
from scorereg.score_loss.arguments import (
    Weight,
    budget_of,
    check_generator,
    level_of,
    weight_of,
)
from scorereg.score_loss.autograd import CombineGradients
from scorereg.score_loss.gate import Gate
from scorereg.score_loss.gradient_scale import (
    GradientReport,
    append_spatial_axes,
    inverse_norm,
    inverse_rms,
    scale_tensor_to_data_norm,
    scale_to_data_norm,
)
from scorereg.score_loss.holder import DenoiserHolder, first_weight
from scorereg.score_loss.patch import NONFINITE_IN_GRAPH, check_patch, explained, free_values, nonfinite_message
from scorereg.score_loss.range_check import RangeCheck

__all__ = ["ScoreGradient"]

_changes = operator.attrgetter("_version")  # torch counts the changes of a tensor in place


class ScoreGradient(DenoiserHolder):
    """Value and gradient of `ScoreLoss`, the subclass that documents and sets the attributes."""

    prior: Prior
    sigma: float | int | Callable[[int], Any] | None
    default_sigma: float
    weight: Weight
    noise: float | None
    channel_weights: Tensor | None  # these two are no buffers: half() of a model would round them
    normalize: Literal["rms"] | None
    budget: float | int | Callable[[int], Any] | None
    perturb: bool | Callable[[Tensor, Tensor], Tensor]
    control: Prior | None
    on_nonfinite: Literal["raise", "skip"]
    gate: Gate | None
    _range_check: RangeCheck
    noise_range: tuple[float, float] | None
    channel_groups: Tensor
    _skipped: Tensor  # counted where the patches are, as a number of Python's would be waited for
    last: GradientReport | None

    @property
    def skipped(self) -> int:
        """Number of patches that `on_nonfinite="skip"` has skipped."""
        return int(self._skipped)

    def evaluate(
        self, patch: Tensor, sigma: Any, step: int | None, known: Tensor | None, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the loss, its gradient and the mask `free`: 1 where a value may move, else 0; `None` if all may.

        The arguments are those of `ScoreLoss`. The gradient is in single precision at least, and has no graph.
        """
        check_patch(patch, self.prior.channels)
        if self.channel_groups.device != patch.device:
            self.channel_groups = self.channel_groups.to(patch.device)
        try:
            with torch.no_grad():
                found = self._evaluate(patch, sigma, step, known, generator)
        except RuntimeError as error:
            told = explained(error, patch, (self.prior, self.control))
            if told is error:
                raise
            raise told from error
        if torch.compiler.is_compiling() and self.on_nonfinite == "raise":  # a graph that ends early would keep no_grad
            torch._assert_async(found[0].isfinite(), NONFINITE_IN_GRAPH)
        return found

    def _evaluate(
        self, patch: Tensor, sigma: Any, step: int | None, known: Tensor | None, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        x = patch.detach().to(torch.float32 if patch.element_size() < 4 else patch.dtype)
        free = None if known is None else free_values(known, x)
        given = self.sigma if sigma is None else sigma
        sigma = level_of(self.default_sigma if given is None else given, step, x, self.noise_range)
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
        if torch.compiler.is_compiling():  # a graph must not wait for a number
            if self.on_nonfinite == "skip":
                value, gradient = self._skip_nonfinite(residual, gradient)
        elif not math.isfinite(self._number(value, x, level) if needed else value.item()):
            if self.on_nonfinite == "raise":
                raise ValueError(nonfinite_message(patch, residual, self.prior.channels, step))
            value, gradient = self._skip_nonfinite(residual, gradient)
        return value, gradient, free

    def _number(self, value: Tensor, x: Tensor, level: Tensor) -> float:
        """The value as a number, after a warning of a patch far outside the prior's range; one transfer for both."""
        excess = self._range_check.excess(x, level)
        if excess is None:
            return value.item()
        number, far = torch.stack([value, excess.to(value.dtype)]).tolist()
        if far > 1 and math.isfinite(number):
            self._range_check.warn(x)
        return number

    def combine_at_patch(self, free: Tensor | None, scaler: torch.amp.GradScaler | None) -> CombineGradients:
        """Return what a backward pass does with the gradient of a patch and the data's gradient to the same patch.

        A budget is relative to the data's norm in each patch and channel group, over free values.
        """
        scale = partial(scale_to_data_norm, free=free, groups=self.channel_groups)
        return partial(self._combine, scale, scaler)

    def combine_at_output(self, step: int, scaler: torch.amp.GradScaler | None) -> CombineGradients:
        """Return what a backward pass does with gradients of a module's output and the data's to the same tensors.

        A budget is relative to the data's norm of each tensor as a whole.
        """
        ratio = 1.0 if self.budget is None else budget_of(self.budget, step)
        return partial(self._combine, partial(scale_tensor_to_data_norm, ratio=ratio), scaler)

    def _combine(
        self,
        scale: Callable[[Tensor, Tensor], Tensor],
        scaler: torch.amp.GradScaler | None,
        gradients: tuple[Tensor, ...],
        incoming: tuple[Tensor | None, ...],
    ) -> tuple[Tensor, ...]:
        """The gradients to add to the incoming ones, scaled by the budget or else by the scaler."""
        pairs = zip(gradients, incoming, strict=True)
        data = tuple(torch.zeros_like(g) if other is None else other.to(g.dtype) for g, other in pairs)
        if self.budget is not None:  # relative to the data's gradient, which the scaler has scaled already
            gradients = tuple(scale(g, other) for g, other in zip(gradients, data, strict=True))
        elif scaler is not None:
            gradients = tuple(scaler.scale(g) for g in gradients)
        self.last = GradientReport(data, gradients)
        return gradients

    def _residual(self, x: Tensor, level: Tensor, known: Tensor | None, generator: torch.Generator | None) -> Tensor:
        """The residual r, before known values are set to 0."""
        mask = conditioning_args(self.prior, known)
        query, noise, perturb = x, None, self.perturb
        if perturb:
            check_generator(generator)
            noise = perturb(x, level) if callable(perturb) else x.new_empty(x.shape).normal_(generator=generator)
            noise = _checked(noise, x, "The function given as `perturb`") * append_spatial_axes(level, x.ndim)
            noise = noise * ~mask[0] if mask else noise  # a conditional prior is given known values without noise
            query = x + noise
        with without_autocast(x.device):  # sigma goes down to 0.01, where half precision is noise
            removed = _removed(self.prior, query, level, *mask)
            if self.control is not None:
                return removed - _removed(self.control, query, level)
        return removed if noise is None else removed - noise

    def _coefficient(
        self, residual: Tensor, free: Tensor | None, sigma: Tensor | float, weight: Tensor | float
    ) -> Tensor | float:
        """The coefficient k: a number, or broadcastable to the residual.

        Numbers stay Python numbers as long as possible: beside a small network each tensor operation shows.
        """
        if self.budget is not None:
            factor = append_spatial_axes(weight, 2) * inverse_norm(residual, self.channel_groups)
        elif self.normalize is not None:
            root, inverse = inverse_rms(residual, free, self.channel_groups)
            factor = append_spatial_axes(weight, 2) / len(residual) * root * inverse
        else:
            factor = weight / len(residual) / (sigma * sigma)
            if self.noise is not None:  # from minus log p to what a mean squared error is
                factor = factor * (2 * self.noise**2 / residual[0].numel())
        factor = append_spatial_axes(factor, residual.ndim)
        if self.channel_weights is not None:
            factor = factor * append_spatial_axes(self.channel_weights.to(residual)[None], residual.ndim)
        return factor

    def _skip_nonfinite(self, residual: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Value and gradient without the patches that are not finite, which are counted."""
        values = (residual * gradient).flatten(1).sum(dim=1) / 2
        good = values.isfinite()
        self._skipped = self._skipped.to(good.device) + (~good).sum()
        return torch.where(good, values, 0.0).sum(), torch.where(
            append_spatial_axes(good, gradient.ndim), gradient, 0.0
        )


def _removed(prior: Any, x: Tensor, level: Tensor, *mask: Tensor) -> Tensor:
    """Residual x - D(x), by the prior's `residual` where it has one: the difference with D loses digits."""
    direct = getattr(prior, "residual", None)
    if direct is not None:
        return _asked(prior, direct, "residual", x, level, *mask)
    return x - _asked(prior, prior.denoise, "denoise", x, level, *mask)


def _asked(prior: Any, function: Callable[..., Any], name: str, x: Tensor, level: Tensor, *mask: Tensor) -> Tensor:
    """What a prior returns; one with weights in single precision is asked so where it does not take doubles."""
    watched = not (torch.compiler.is_compiling() or x.is_inference())
    before = _changes(x) if watched else None
    try:
        returned = function(x, level, *mask)
    except RuntimeError:
        weight = first_weight(prior)
        if x.dtype != torch.float64 or weight is None or weight.dtype != torch.float32:
            raise
        returned = function(x.float(), level.float(), *mask)
    if watched and _changes(x) != before:
        raise ValueError(f"The prior's {name}(x, sigma) changed x in place. Work on a copy of it.")
    return _checked(returned, x, f"The prior's {name}(x, sigma)")


def _checked(returned: Any, x: Tensor, source: str) -> Tensor:
    if not isinstance(returned, Tensor) or not returned.is_floating_point():
        got = returned.dtype if isinstance(returned, Tensor) else f"a {type(returned).__name__}"
        raise ValueError(f"{source} must return a tensor of floating-point numbers, but it returned {got}.")
    if returned.shape != x.shape:
        raise ValueError(
            f"{source} must return the shape of x, {tuple(x.shape)}, but it returned {tuple(returned.shape)}."
        )
    return returned.to(x.dtype)
