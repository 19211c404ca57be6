r"""`ScoreLoss`: a denoiser as a loss for anything that is optimised by gradient descent.

    b c *space   batch, named channels, and 1, 2 or 3 spatial dimensions
    x            patch in prior space: every channel in [-1, 1]
    sigma        noise level in prior-space units, one per patch; x_sigma = x + sigma n, n ~ N(0, I)
    D            the prior's denoiser, D(x, sigma) = E[x_0 | x_sigma = x]; score = (D - x) / sigma^2

Source: the method is that of DiffusioNeRF (Wynn and Turmukhambetov 2023, arXiv 2302.12231).
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.autograd.forward_ad import unpack_dual

from scorereg.priors.base import Prior
from scorereg.score_loss.arguments import Level, Weight, check_scaler, renamed_arguments
from scorereg.score_loss.attach import Attached, Select
from scorereg.score_loss.autograd import (
    AddGradient,
    AddInGraph,
    GradientInGraph,
    LeadsNowhere,
    PrecomputedGradient,
    link,
)
from scorereg.score_loss.dlpack import as_kind_of, as_tensor
from scorereg.score_loss.gate import Gate
from scorereg.score_loss.gradient import ScoreGradient
from scorereg.score_loss.gradient_scale import channel_groups
from scorereg.score_loss.range_check import RangeCheck
from scorereg.score_loss.settings import (
    channel_factors,
    check_noise,
    check_settings,
    default_sigma,
    describe,
    noise_range,
)

__all__ = ["ScoreLoss"]


_IN_GRAPH = (
    "ScoreLoss.hook with a budget or a scaler looks at the data's gradient, which one graph cannot hold. Compile "
    "without fullgraph=True."
)


class ScoreLoss(ScoreGradient):
    r"""Half the squared denoising residual, with the denoiser held fixed.

    $$ L = \frac{1}{b} \sum_i \frac{w(\sigma_i)}{2 \sigma_i^2} \lVert x_i - \bar D(\tilde x_i, \sigma_i) \rVert^2 $$

    The bar stops the gradient, so `b * dL/dx_i = w (x_i - D) / sigma_i^2`, and there is no backward pass through the
    prior. The value falls as the patch becomes likelier, but the gradient is not its derivative: do not use it in a
    line search. Differentiable once, to the patch. Published regularisers are settings of this one:

    | settings                                        | `b * dL/dx`       | source                           |
    |-------------------------------------------------|-------------------|----------------------------------|
    | `weight=1.0`                                    | `-score(x)`       | DiffusioNeRF (arXiv 2302.12231)  |
    | `weight=torch.square`                           | `x - D(x)`        | RED (arXiv 1611.02862)           |
    | `perturb=True`, `weight=lambda s: s * w(s)`     | `w (eps_hat - n)` | SDS (DreamFusion, eq. 3)         |

    `scorereg.estimators` has these and more by name, DiffusioNeRF with its schedule among them; in full it also has
    `known=RGBD().photo_mask(photo)` for the quarter of the patches whose colours were taken from a photo.

    With the default weight the gradient is that of minus log p, summed over the values of a patch. So it belongs beside
    minus a log likelihood, `((render - photo) ** 2).sum() / (2 * noise**2)` for each patch: then the fit is one to the
    most probable patch, and nothing is left to weight. With `noise` it is multiplied by `2 noise^2 / n`, for n values
    in a patch, which makes the same of a mean of squares over as many values.

    Args:
        prior: Denoiser; its parameters are never updated here.
        sigma: Noise level: a number, or a function of the step; a level given to the call takes precedence. It must be
            within the noise range of the prior's card, if it has one. `None`: 0.2, for a prior over [-1, 1]; in general
            a tenth of the width of the card's range, within its noise range.
        weight: Dimensionless, >= 0: a number, or a function. A function is called with sigma, shape `(b,)`, and returns
            a number or `(b,)`: `torch.square`, `lambda s: s`. A parameter named `step` gets the step, so `lambda step:
            ...` and all of `scorereg.schedules` are functions of the step, `lambda sigma, step: ...` is one of both.
            While the weight is the number 0 the prior is not evaluated, and the loss costs next to nothing.
        channel_weights: Factor of each channel, >= 0: one number per channel in order, or a dict by name in which
            `"rgb"` stands for r, g and b, and a channel without an entry has 1.
        normalize: `None`, or `"rms"`: scale the gradient of each patch and channel group (r, g and b are one group) to
            a root mean square of 1 over the values that may move, before the weights. The RMS at the patch is then
            `weight / b`, whatever sigma and the prior are.
        budget: In place of `weight` and `normalize`: norm of the gradient that is added, relative to the norm of the
            data's gradient to the same values, for each patch and channel group, before the channel weights. >= 0: a
            number, or a function of the step. Only for `hook`, `attach` and `gradient`, which have access to the data's
            gradient. Patches without data get no gradient; use `normalize` for those.
        perturb: Denoise `x + sigma n` instead of `x`, with noise on known values too. `True` draws new `n` at each
            call; a function of `(x, sigma)` returns it.
        control: A second denoiser whose output takes the place of `x` in the residual: `control(x + sigma n) - D(x +
            sigma n)`; see `estimators.vsd`. `against` is the deprecated name of this argument.
        on_nonfinite: What happens if a patch or the prior's output is NaN or infinite: `"raise"` an error with the
            place, or `"skip"` the patch: no gradient, no part in the value, and `loss.skipped` counts it.
        noise: Standard deviation of the data's residual, in the units of a mean squared error that the loss is added
            to, > 0: `F.mse_loss(render, photo) + ScoreLoss(prior, noise=0.04)(patch)`. `None`: the loss goes with minus
            a log likelihood, a sum of squares divided by `2 noise**2`. See below.
        gate: Quantile of the residual of clean patches, such as 0.99, beyond which the gradient of a patch is reduced;
            the prior's card has to record it. See `scorereg.score_loss.gate`. Needs `perturb=False`.

    Attributes:
        skipped: Number of patches that `on_nonfinite="skip"` has skipped.
        last: `GradientReport` of the data's and the prior's gradient, from the last backward pass through `hook` or
            `attach`, or the last call of `gradient`.

    Raises:
        ValueError: If `prior` is not a denoiser, a number is negative or not finite, or a channel is not the prior's.

    Example:
        >>> import torch
        >>> from scorereg import GaussianFieldPrior, ScoreLoss
        >>> prior = GaussianFieldPrior(size=8, channels=("disparity",))
        >>> patch = torch.zeros(2, 1, 8, 8, requires_grad=True)
        >>> ScoreLoss(prior, sigma=0.1)(patch).item()
        0.0
    """

    @renamed_arguments(against="control")
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
        control: Prior | None = None,
        on_nonfinite: Literal["raise", "skip"] = "raise",
        gate: float | None = None,
        noise: float | int | None = None,
    ) -> None:
        super().__init__()
        check_settings(prior, sigma, weight, normalize, budget, perturb, control, on_nonfinite, gate)
        check_noise(noise, budget, normalize)
        self.prior = prior
        self.sigma = sigma
        self.default_sigma = default_sigma(prior)
        self.noise = None if noise is None else float(noise)
        self.weight = weight
        self.normalize = normalize
        self.budget = budget
        self.perturb = perturb
        self.control = control
        self.on_nonfinite = on_nonfinite
        self.gate = None if gate is None else Gate(prior, gate)
        self.noise_range = noise_range(prior)
        self._range_check = RangeCheck(prior)
        self._skipped = torch.zeros((), dtype=torch.int64)
        self.last = None
        self.channel_weights = None if channel_weights is None else channel_factors(channel_weights, prior.channels)
        self.channel_groups = channel_groups(prior.channels)

    def __repr__(self) -> str:
        """One line: the prior's name and the settings that are not the default."""
        defaults = {"weight": 1.0, "perturb": False, "on_nonfinite": "raise"}
        names = "sigma weight noise channel_weights normalize budget perturb control on_nonfinite".split()
        settings = {name: getattr(self, name) for name in names} | {"gate": self.gate and self.gate.level}
        given = [f"{name}={describe(v)}" for name, v in settings.items() if v != defaults.get(name)]
        return f"ScoreLoss({', '.join([describe(self.prior), *given])})"

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

        Half-precision patches are converted to float32, autocast or not, and get a gradient of their own dtype.

        Args:
            patch: In prior space, channels in the prior's order.
            sigma: Noise level: a number or one per patch; by default that of the constructor.
            step: Passed to functions of the step, and named in errors.
            known: Mask, True at values that must not move: their gradient is exactly 0, but the denoiser still sees
                them. As many dimensions as the patch, each of the patch's size or 1.
            generator: Source of the noise of `perturb=True`.

        Raises:
            ValueError: If the patch is not finite or has other channels than the prior, if there is no positive sigma
                for every patch, or if the prior or a function returns a wrong shape or value.
        """
        if self.budget is not None:
            raise ValueError(
                "ScoreLoss(budget=...) needs the gradient of the data, which a scalar does not see. "
                "Use loss.hook(patch), loss.attach(module), or loss.gradient(patch, data=...)."
            )
        value, gradient, _ = self.evaluate(patch, sigma, step, known, generator)
        if torch.compiler.is_compiling():
            return GradientInGraph.apply(patch, value, gradient)
        if torch.is_grad_enabled() and not patch.requires_grad and unpack_dual(patch).tangent is None:
            return LeadsNowhere.apply(value.detach().requires_grad_())
        return PrecomputedGradient.apply(patch, value, gradient, link(patch))

    def hook(
        self,
        patch: Float[Tensor, "b c *space"],
        sigma: Level | None = None,
        *,
        scaler: torch.amp.GradScaler | None = None,
        step: int | None = None,
        known: Bool[Tensor, "..."] | None = None,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "b c *space"]:
        """Return the patch unchanged; a backward pass through it adds the gradient of the loss.

        Use the returned patch in place of the given one. Each backward pass adds the gradient once, however often the
        patch is used and by whatever factor the rest is multiplied.

        Args:
            patch: In prior space, channels in the prior's order.
            sigma: Noise level: a number or one per patch; by default that of the constructor.
            scaler: The `torch.amp.GradScaler` that scales the other losses; the added gradient is scaled alike.
            step: Passed to functions of the step, and named in errors.
            known: Mask, True at values that must not move.
            generator: Source of the noise of `perturb=True`.

        Raises:
            ValueError: As the loss itself does.
        """
        check_scaler(scaler)
        _, gradient, free = self.evaluate(patch, sigma, step, known, generator)
        if torch.compiler.is_compiling():
            if self.budget is None and scaler is None:
                return AddInGraph.apply(patch, gradient)
            torch._dynamo.graph_break(msg=_IN_GRAPH)
        if torch.is_grad_enabled() and not patch.requires_grad:
            warnings.warn(
                "ScoreLoss.hook got a patch that does not require grad, so nothing can be added to its gradient. Was "
                "it detached, or made of numbers? Without need of a gradient call it under torch.no_grad().",
                stacklevel=2,
            )
        return AddGradient.apply(self.combine_at_patch(free, scaler), gradient, link(patch), patch)[0]

    def attach(
        self,
        module: nn.Module,
        select: Select | None = None,
        *,
        scaler: torch.amp.GradScaler | None = None,
        generator: torch.Generator | None = None,
    ) -> Attached:
        """Register a forward hook on a module; a backward pass through its output adds the gradient of the loss.

        The module, the values of its output and the training loop stay as they are. The loss needs its own `sigma`, a
        number or a function of the step; the step is the number of calls unless `handle.step` is set.

        Args:
            module: A renderer, or any part of one. For a compiled module, what `torch.compile` returned.
            select: Function from the module's output (a tensor, or tuples, dicts and dataclasses of tensors) to the
                patch, or to `(patch, known)`. It is differentiated; half-precision tensors are converted to float32,
                autocast or not. Only the module's output gets a gradient, not other tensors that `select` uses.
                `None`: the output is the patch.
            scaler: The `torch.amp.GradScaler` of the training, if there is one.
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
        """Return the gradient of the loss as an array of the same library, dtype and device as the given one.

        For libraries other than torch: pass it to JAX's `custom_vjp` or Dr.Jit's `set_grad`, or add it to the gradient
        of a fit in NumPy.

        Args:
            array: Patch `(b, c, *space)` in prior space: a tensor, or any array that supports DLPack, such as those of
                NumPy, JAX, CuPy or Dr.Jit.
            sigma: Noise level: a number, or an array of one per patch; by default that of the constructor.
            step: Passed to functions of the step, and named in errors.
            known: Boolean array, True at values that must not move.
            generator: Source of the noise of `perturb=True`.
            data: Gradient of the data at the same patch, to which a budget is relative; `loss.last` compares the two.

        Raises:
            ValueError: As the loss itself does; or if `array` is not an array of floating-point numbers.

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
