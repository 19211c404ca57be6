r"""ScoreLoss: a denoiser as a loss, for anything that is optimised by gradient descent.

    b c *space   batch, named channels, and 1, 2 or 3 spatial dimensions
    x            patch in prior space: every channel in [-1, 1]
    sigma        noise level in prior-space units, one per patch; x_sigma = x + sigma n, n ~ N(0, I)
    D            the prior's denoiser, D(x, sigma) = E[x_0 | x_sigma = x]; score = (D - x) / sigma^2

The idea is that of DiffusioNeRF (Wynn and Turmukhambetov 2023, arXiv 2302.12231).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from scorereg.priors.base import Prior
from scorereg.score_loss.arguments import Level, Weight, channel_factors, check_settings, noise_range
from scorereg.score_loss.attach import Attached, Select
from scorereg.score_loss.autograd import Added, WorkedOut
from scorereg.score_loss.dlpack import as_kind_of, as_tensor
from scorereg.score_loss.gate import Gate
from scorereg.score_loss.gradient import ScoreGradient
from scorereg.score_loss.gradient_scale import same_scale

__all__ = ["ScoreLoss"]


class ScoreLoss(ScoreGradient):
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

    These and more have names in `scorereg.estimators`. DiffusioNeRF in full: `sigma=schedules.diffusionerf()`, and
    `known=RGBD().photo_mask(photo)` for the quarter of the patches whose colours were taken from a photo.

    Args:
        prior: Denoiser; its parameters are never updated here.
        sigma: Noise level: a number, or a function of the step. A level given to the call goes before it. It must lie
            in the noise range of the prior's card, where there is one.
        weight: Dimensionless, >= 0: a number, or a function. A function is called with sigma, shape `(b,)`, and returns
            a number or `(b,)`: `torch.square`, `lambda s: s`. What it calls `step` is the step: `lambda step: ...` and
            every one of `scorereg.schedules` are functions of the step, `lambda sigma, step: ...` is one of both. A
            weight that is the number 0 does not ask the prior, so a term that has not started costs nothing.
        channel_weights: Factor of each channel, >= 0: one number per channel in order, or a dict by name in which
            `"rgb"` stands for r, g and b, and a channel without an entry has 1.
        normalize: `None`, or `"rms"`: the gradient of each patch and channel is scaled to a root mean square of 1 over
            the values that may move, before the weights. r, g and b share one scale, as colours belong together. The
            RMS that arrives is then `weight / b`, whatever sigma and the prior are.
        budget: In place of `weight` and `normalize`: the norm of the gradient that is added, in units of the data's
            gradient to the same values, for each patch and channel group (r, g and b are one), before the channel
            weights. A number, or a function of the step. It needs the data's gradient, which `hook`, `attach` and
            `gradient` meet and a scalar does not. Patches without data get nothing; for those there is `normalize`.
        perturb: Denoise `x + sigma n` instead of `x` itself; known values get their noise too. True draws fresh `n`; a
            function of `(x, sigma)` returns it.
        against: A denoiser whose answer to the same query takes the place of `x` in the residual; see `estimators.vsd`.
        on_nonfinite: What a patch that is NaN or infinite, or that the prior makes so, does: `"raise"` an error that
            names it, or `"skip"`: it has no gradient and no part in the value, and `loss.skipped` counts it.
        gate: Weaken patches whose residual is beyond this quantile of what the prior's card records of clean patches,
            such as 0.99; see `scorereg.score_loss.gate`. Needs `perturb=False`.

    Attributes:
        skipped: Patches that `on_nonfinite="skip"` has skipped.
        last: `GradientReport` of the data's and the prior's gradient, as `hook`, `attach` or `gradient` last saw them.

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

    def __init__(
        self,
        prior: Prior,
        *,
        sigma: float | int | Callable[[int], Any] | None = None,
        weight: Weight = 1.0,
        channel_weights: Sequence[float | int] | Mapping[str, float | int] | None = None,
        normalize: Literal["rms"] | None = None,
        budget: float | int | Callable[[int], Any] | None = None,
        perturb: bool | Callable[[Tensor, Tensor], Tensor] = False,
        against: Prior | None = None,
        on_nonfinite: Literal["raise", "skip"] = "raise",
        gate: float | None = None,
    ) -> None:
        super().__init__()
        check_settings(prior, sigma, weight, normalize, budget, perturb, against, on_nonfinite, gate)
        self.prior = prior
        self.sigma = sigma
        self.weight = weight
        self.normalize = normalize
        self.budget = budget
        self.perturb = perturb
        self.against = against
        self.on_nonfinite = on_nonfinite
        self.gate = None if gate is None else Gate(prior, gate)
        self.noise_range = noise_range(prior)
        self.skipped = 0
        self.last = None
        factors = None if channel_weights is None else channel_factors(channel_weights, prior.channels)
        self.register_buffer("channel_weights", factors, persistent=False)
        self.register_buffer("same_scale", same_scale(prior.channels), persistent=False)

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
        if self.budget is not None:
            raise ValueError(
                "ScoreLoss(budget=...) needs the gradient of the data, which a scalar does not see. "
                "Use loss.hook(patch), loss.attach(module), or loss.gradient(patch, data=...)."
            )
        value, gradient, _ = self.evaluate(patch, sigma, step, known, generator)
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
        _, gradient, free = self.evaluate(patch, sigma, step, known, generator)
        return Added.apply(self.combine_at_patch(free, scaler), (gradient,), patch)[0]

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
        data: Any = None,
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
            data: Gradient of the data at the same patch, which a budget is a share of; `loss.last` compares the two.

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
        if self.budget is not None and data is None:
            raise ValueError("ScoreLoss(budget=...) needs the gradient of the data: loss.gradient(patch, data=...).")
        _, gradient, free = self.evaluate(patch, sigma, step, known, generator)
        if data is not None:
            (gradient,) = self.combine_at_patch(free, None)((gradient,), (as_tensor(data, "data"),))
        return as_kind_of(array, gradient.to(patch.dtype))
