r"""ScoreLoss: a denoiser as a loss, for anything that is optimised by gradient descent.

    b c *space   batch, named channels, and 1, 2 or 3 spatial dimensions
    x            patch in prior space: every channel in [-1, 1]
    sigma        noise level in prior-space units, one per patch; x_sigma = x + sigma n, n ~ N(0, I)
    D            the prior's denoiser, D(x, sigma) = E[x_0 | x_sigma = x]; score = (D - x) / sigma^2

The idea is that of DiffusioNeRF (Wynn and Turmukhambetov 2023, arXiv 2302.12231).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from scorereg.added import Added, WorkedOut
from scorereg.arrays import as_kind_of, as_tensor
from scorereg.attach import Attached, Select
from scorereg.priors.base import Prior
from scorereg.score_inputs import (
    channel_factors,
    check_patch,
    check_settings,
    free_values,
    level_of,
    not_finite,
    weight_of,
)

__all__ = ["ScoreLoss"]

Level = float | int | Float[Tensor, "*b"]
Weight = float | int | Callable[..., Any]


class ScoreLoss(nn.Module):
    r"""Half the squared denoising residual, with the denoiser held fixed.

    $$ L = \frac{1}{b} \sum_i \frac{w(\sigma_i)}{2 \sigma_i^2} \lVert x_i - \bar D(\tilde x_i, \sigma_i) \rVert^2 $$

    The bar stops the gradient, so `b * dL/dx_i = w (x_i - D) / sigma_i^2` and nothing runs backward through the
    prior. The value tells how far the patch is from what the prior expects, and falls as it becomes likelier; it is
    no energy, so do not use it in a line search. Differentiable once, to the patch. Published regularisers are
    settings of this one:

    | settings                                        | `b * dL/dx`       | source                           |
    |-------------------------------------------------|-------------------|----------------------------------|
    | `weight=1.0`                                    | `-score(x)`       | DiffusioNeRF (arXiv 2302.12231)  |
    | `weight=torch.square`                           | `x - D(x)`        | RED (arXiv 1611.02862)           |
    | `perturb=True`, `weight=lambda s: s * w(s)`     | `w (eps_hat - n)` | SDS (DreamFusion, eq. 3)         |

    DiffusioNeRF in full: `sigma=schedules.diffusionerf()`, and `known=RGBD().known_rgb(photo)` for the quarter of the
    patches whose colours were taken from a photo.

    Args:
        prior: Denoiser; its parameters are never updated here.
        sigma: Noise level: a number, or a function of the step. A level given to the call goes before it.
        weight: Dimensionless, >= 0: a number, or a function. A function is called with sigma, shape `(b,)`, and returns
            a number or `(b,)`: `torch.square`, `lambda s: s`. What it calls `step` is the step: `lambda step: ...` and
            every one of `scorereg.schedules` are functions of the step, `lambda sigma, step: ...` is one of both. A
            weight that is the number 0 does not ask the prior, so a term that has not started costs nothing.
        channel_weights: Factor of each channel, >= 0: one number per channel in order, or a dict by name in which
            `"rgb"` stands for r, g and b, and a channel without an entry has 1.
        normalize: `None`, or `"rms"`: the gradient of each patch and channel is scaled to a root mean square of 1 over
            the values that may move, before the weights. r, g and b share one scale, as colours belong together. A
            weight is then a gradient budget: the RMS that arrives is `weight / b`, whatever sigma and the prior are.
        perturb: Denoise `x + sigma n` with fresh `n`, instead of `x` itself.

    Raises:
        ValueError: If `prior` is none, a number is negative or not finite, or a channel is not the prior's.

    Example:
        >>> import torch
        >>> from scorereg import GaussianFieldPrior, ScoreLoss
        >>> prior = GaussianFieldPrior(size=8, channels=("disparity",))
        >>> patch = torch.zeros(2, 1, 8, 8, requires_grad=True)
        >>> ScoreLoss(prior, sigma=0.1)(patch).item()
        0.0
    """

    channel_weights: Tensor | None
    same_scale: Tensor

    def __init__(
        self,
        prior: Prior,
        *,
        sigma: float | int | Callable[[int], Any] | None = None,
        weight: Weight = 1.0,
        channel_weights: Sequence[float | int] | Mapping[str, float | int] | None = None,
        normalize: Literal["rms"] | None = None,
        perturb: bool = False,
    ) -> None:
        super().__init__()
        check_settings(prior, sigma, weight, normalize)
        self.prior = prior
        self.sigma = sigma
        self.weight = weight
        self.normalize = normalize
        self.perturb = perturb
        factors = None if channel_weights is None else channel_factors(channel_weights, prior.channels)
        self.register_buffer("channel_weights", factors, persistent=False)
        self.register_buffer("same_scale", _same_scale(prior.channels), persistent=False)

    def forward(
        self,
        patch: Float[Tensor, "b c *space"],
        sigma: Level | None = None,
        *,
        step: int | None = None,
        known: Bool[Tensor, "..."] | None = None,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss, a scalar to add to others.

        Half-precision patches are computed with in float32, autocast or not, and get a gradient of their own dtype.

        Args:
            patch: In prior space, channels in the prior's order.
            sigma: Noise level: a number or one per patch, in place of the one given to the class.
            step: What functions of the step are called with; it is also named in errors.
            known: True at values that must not move: their gradient is exactly 0, and they still tell the denoiser
                about the others. As many dimensions as the patch, each of its size or 1.
            generator: Source of the noise of `perturb=True`.

        Raises:
            ValueError: If the patch is not finite or has other channels than the prior, if there is no positive sigma
                for every patch, or if the prior or a function returns something that does not fit.
        """
        value, gradient = self._evaluate(patch, sigma, step, known, generator)
        return WorkedOut.apply(patch, (value, gradient))

    def hook(
        self,
        patch: Float[Tensor, "b c *space"],
        sigma: Level | None = None,
        *,
        step: int | None = None,
        known: Bool[Tensor, "..."] | None = None,
        generator: torch.Generator | None = None,
        scaler: torch.amp.GradScaler | None = None,
    ) -> Float[Tensor, "b c *space"]:
        """Return the patch, and add the loss's gradient to whatever comes back through it.

        The patch that is returned has to take part in what is differentiated. What is added is the gradient of this
        loss itself, once for each backward pass, however often the patch is used and whatever factor the rest has.

        Args:
            patch: As for the loss itself, like the other arguments.
            sigma: Noise level: a number or one per patch.
            step: What functions of the step are called with.
            known: True at values that must not move.
            generator: Source of the noise of `perturb=True`.
            scaler: The `torch.amp.GradScaler` that scales the rest, so that what is added is scaled like it.

        Raises:
            ValueError: As the loss itself does.
        """
        _, gradient = self._evaluate(patch, sigma, step, known, generator)
        scaled = (lambda g, arriving: g) if scaler is None else (lambda g, arriving: scaler.scale(g))
        return Added.apply(scaled, (gradient,), patch)[0]

    def attach(
        self,
        module: nn.Module,
        select: Select | None = None,
        *,
        scaler: torch.amp.GradScaler | None = None,
        generator: torch.Generator | None = None,
    ) -> Attached:
        """Add the loss's gradient to what a module returns, in whatever backward pass runs through it.

        Nothing else changes: not the module, nor its output's values, nor the loop that trains it. The loss needs its
        own `sigma`, a number or a function of the step; the step is the number of calls unless `handle.step` is set.

        Args:
            module: A renderer, or any part of one. For a compiled module, what `torch.compile` returned.
            select: From the module's output, a tensor or tuples, dicts and dataclasses of them, to the patch, or to
                `(patch, known)`. What it does, such as `RGBD`, is differentiated; half-precision tensors come to it
                as float32, autocast or not. Only the module's output receives a gradient, not what else `select` uses.
                `None`: the output is the patch.
            scaler: The `torch.amp.GradScaler` of the training, where there is one.
            generator: Source of the noise of `perturb=True`.

        Returns:
            A handle with `value`, `calls`, `step` and `remove()`.

        Example:
            >>> import torch
            >>> from scorereg import GaussianFieldPrior, ScoreLoss
            >>> renderer = torch.nn.Conv2d(3, 1, 1)
            >>> loss = ScoreLoss(GaussianFieldPrior(size=8, channels=("disparity",)), sigma=0.1)
            >>> handle = loss.attach(renderer)
            >>> renderer(torch.ones(2, 3, 8, 8)).mean().backward()  # the mean's gradient and the prior's
            >>> handle.calls
            1
            >>> handle.remove()
        """
        return Attached(self, module, select, scaler, generator)

    def gradient(
        self,
        array: Any,
        sigma: Any = None,
        *,
        step: int | None = None,
        known: Any = None,
        generator: torch.Generator | None = None,
    ) -> Any:
        """Return the loss's gradient at a patch, as an array of the patch's own kind, dtype and device.

        For libraries other than torch: hand it to what sets a gradient there (JAX's `custom_vjp`, Dr.Jit's
        `set_grad`), or add it to the gradient of a fit in NumPy.

        Args:
            array: Patch `(b, c, *space)` in prior space: anything that speaks DLPack, such as an array of NumPy, JAX,
                CuPy or Dr.Jit, or a tensor.
            sigma: Noise level: a number, or an array of one per patch.
            step: What functions of the step are called with.
            known: True at values that must not move; a boolean array.
            generator: Source of the noise of `perturb=True`.

        Raises:
            ValueError: As the loss itself does; or if there is no array, or none of floating-point numbers.

        Example:
            >>> import numpy as np
            >>> from scorereg import GaussianFieldPrior, ScoreLoss
            >>> loss = ScoreLoss(GaussianFieldPrior(size=8, channels=("disparity",)), sigma=0.1)
            >>> loss.gradient(np.zeros((2, 1, 8, 8))).dtype
            dtype('float64')
        """
        patch = as_tensor(array)
        sigma = as_tensor(sigma, "sigma") if hasattr(sigma, "__dlpack__") else sigma
        known = None if known is None else as_tensor(known, "known")
        _, gradient = self._evaluate(patch, sigma, step, known, generator)
        return as_kind_of(array, gradient.to(patch.dtype))

    @torch.no_grad()
    def _evaluate(
        self, patch: Tensor, sigma: Any, step: int | None, known: Tensor | None, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """The loss and its gradient, neither with a graph. L = <x - D, gradient> / 2, whatever the settings."""
        check_patch(patch, self.prior.channels)
        x = patch.detach().to(torch.float32 if patch.element_size() < 4 else patch.dtype)
        free = None if known is None else free_values(known, x)
        sigma = level_of(self.sigma if sigma is None else sigma, step, x)
        level = sigma if isinstance(sigma, Tensor) else x.new_full((len(x),), sigma)
        weight = weight_of(self.weight, level, step)
        if isinstance(weight, Tensor) or weight > 0:
            denoised = self._denoise(x, level, generator)
            residual = x - denoised if free is None else (x - denoised) * free
        else:
            denoised, residual = x, 0 * x
        gradient = residual * self._coefficient(residual, free, sigma, weight)
        value = torch.dot(residual.flatten(), gradient.flatten()) / 2
        if not math.isfinite(value.item()):
            raise ValueError(not_finite(patch, denoised, self.prior.channels, step))
        return value, gradient

    def _denoise(self, x: Tensor, level: Tensor, generator: torch.Generator | None) -> Tensor:
        query = x
        if self.perturb:
            noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
            query = torch.addcmul(x, noise, level[(...,) + (None,) * (x.ndim - 1)])
        with torch.autocast(x.device.type, enabled=False):  # sigma goes down to 0.01, where half precision is noise
            denoised = self.prior.denoise(query, level)
        if denoised.shape != x.shape:
            raise ValueError(
                f"The prior's denoise(x, sigma) must return the shape of x, {tuple(x.shape)}, "
                f"but it returned {tuple(denoised.shape)}."
            )
        return denoised.to(x.dtype)

    def _coefficient(
        self, residual: Tensor, free: Tensor | None, sigma: Tensor | float, weight: Tensor | float
    ) -> Tensor | float:
        """What the residual is multiplied with to give the gradient: a number, or broadcastable to the residual.

        Numbers stay numbers as long as they can: beside a small network each operation on a tensor shows.
        """
        factor = weight / len(residual)
        if self.normalize is None:
            factor = factor / (sigma * sigma)
        factor = _over_space(factor, residual.ndim)
        if self.normalize is not None:
            factor = factor * _over_space(self._over_rms(residual, free), residual.ndim)
        if self.channel_weights is not None:
            factor = factor * _over_space(self.channel_weights.to(residual)[None], residual.ndim)
        return factor

    def _over_rms(self, residual: Tensor, free: Tensor | None) -> Float[Tensor, "b c"]:
        """1 / RMS of each patch and channel group, and 0 where nothing is left to move."""
        together = self.same_scale.to(residual)
        energy = _sum_groups(torch.linalg.vector_norm(residual.flatten(2), dim=2).square(), together)
        if free is None:
            count = residual[0, 0].numel() * together.sum(dim=0)
        else:
            count = _sum_groups(free.expand_as(residual).flatten(2).sum(dim=2), together)
        return torch.where(energy > 0, (count / energy).sqrt(), 0.0)


def _same_scale(channels: Sequence[str]) -> Float[Tensor, "c c"]:
    """1 where two channels are normalised together: r, g and b, and each other channel with itself."""
    group = ["rgb" if name in ("r", "g", "b") else name for name in channels]
    return torch.tensor([[float(one == other) for other in group] for one in group])


def _sum_groups(each: Float[Tensor, "b c"], together: Float[Tensor, "c c"]) -> Float[Tensor, "b c"]:
    """Not a matrix product, which autocast would round to half precision."""
    return (each[:, None, :] * together).sum(dim=2)


def _over_space(factor: Tensor | float, dimensions: int) -> Tensor | float:
    """Append axes of length 1, so that a factor of each patch (and channel) meets every value."""
    return factor[(...,) + (None,) * (dimensions - factor.ndim)] if isinstance(factor, Tensor) else factor
