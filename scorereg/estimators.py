r"""Published score estimators: functions that return a `ScoreLoss` with the settings of a paper.

    x            patch in prior space; sigma its noise level; x_sigma = x + sigma n with noise n
    eps_hat      noise estimate of the prior, (x_sigma - D(x_sigma, sigma)) / sigma
    w(sigma)     weight of the published gradient: a number, or a function of sigma, of the step, or of both

Papers with variance-preserving noise write x_t = a x + b n. Their network at t is the denoiser here at sigma = b / a,
so b^2 = sigma^2 / (1 + sigma^2) and a^2 = 1 / (1 + sigma^2). Gradients below are those to one patch x; a batch of b
patches divides them by b.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypedDict, Unpack, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from scorereg.priors.base import Prior
from scorereg.schedules import diffusionerf as schedule_of_diffusionerf
from scorereg.score_loss.arguments import Weight, renamed_arguments, weight_of
from scorereg.score_loss.gradient_scale import append_spatial_axes
from scorereg.score_loss.loss import ScoreLoss
from scorereg.score_loss.settings import describe

__all__ = [
    "EstimatorName",
    "ScoreLossOptions",
    "by_name",
    "ddim_noise",
    "diffusionerf",
    "direct",
    "red",
    "red_diff",
    "sdi",
    "sds",
    "sds_weight",
    "sjc",
    "vsd",
]

EstimatorName = Literal["direct", "sds", "sjc-unreduced", "sdi", "vsd"]


class ScoreLossOptions(TypedDict, total=False):
    """Keyword arguments that every estimator passes to `ScoreLoss`."""

    sigma: float | int | Callable[[int], Any] | None
    channel_weights: Sequence[float | int] | Mapping[str, float | int] | None
    normalize: Literal["rms"] | None
    budget: float | int | Callable[[int], Any] | None
    on_nonfinite: Literal["raise", "skip"]
    gate: float | None
    noise: float | int | None


def direct(prior: Prior, *, w: Weight = 1.0, **options: Unpack[ScoreLossOptions]) -> ScoreLoss:
    r"""Negative score of the patch, without added noise: $-w\,\nabla \log p_\sigma(x) = w\,(x - D(x)) / \sigma^2$.

    Source: DiffusioNeRF (arXiv 2302.12231), with w = 1.
    """
    return _loss(prior, options, w, power=0)


def diffusionerf(
    prior: Prior, *, start: int = 500, end: int = 2500, w: Weight = 1.0, **options: Unpack[ScoreLossOptions]
) -> ScoreLoss:
    r"""The setting of DiffusioNeRF: the negative score at levels that fall from 0.17 to 0.014, without added noise.

    Its small levels ask for a prior that is trained as long as the paper's: those that are trained briefly know least
    there, and the score divides what they do not know by sigma^2.

    Source: DiffusioNeRF (arXiv 2302.12231), by `schedules.diffusionerf`.

    Args:
        prior: The denoiser.
        start: Step up to which sigma has its first value.
        end: Step from which on it has its last.
        w: Weight.
        **options: Passed to `ScoreLoss`; a `sigma` among them takes the place of the schedule.
    """
    return _loss(prior, {"sigma": schedule_of_diffusionerf(start, end), **options}, w, power=0)


def red(prior: Prior, *, w: Weight = 1.0, **options: Unpack[ScoreLossOptions]) -> ScoreLoss:
    r"""Denoising residual: $w\,(x - D(x))$.

    Source: Regularization by Denoising (arXiv 1611.02862).
    """
    return _loss(prior, options, w, power=2)


def sds_weight(sigma: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Usual weight of SDS: b^2 of a variance-preserving process, sigma^2 / (1 + sigma^2)."""
    return sigma.square() / (1 + sigma.square())


def sds(prior: Prior, *, w: Weight = sds_weight, **options: Unpack[ScoreLossOptions]) -> ScoreLoss:
    r"""Score distillation sampling: $w(\sigma)\,(\hat\epsilon - n)$, the estimated noise minus the added noise.

    Usual weights are `sds_weight`, 1, and `lambda s: sds_weight(s) / (1 + s**2) ** 0.5`. The paper draws sigma anew for
    each patch and step: pass a random one to the call, or a function of the step that returns one to the constructor.

    Source: DreamFusion (arXiv 2209.14988), eq. 3.
    """
    return _loss(prior, options, w, perturb=True)


def sjc(
    prior: Prior, *, variance_reduction: bool = True, w: Weight = 1.0, **options: Unpack[ScoreLossOptions]
) -> ScoreLoss:
    r"""Score Jacobian chaining: $w\,(x - D(x_\sigma)) / \sigma$; without variance reduction $x_\sigma$ replaces x.

    The expectations are equal, as n has mean 0. The noise in the gradient is the part of n that D keeps, without
    variance reduction the part that D removes; so the variance is reduced only where sigma is large. The weight is that
    of the released code; the score as defined in the paper has another 1 / sigma, `w=lambda s: 1 / s`.

    Source: Score Jacobian Chaining (arXiv 2212.00774), "perturb and average scoring".
    """
    control = None if variance_reduction else _Identity(prior.channels)
    return _loss(prior, options, w, perturb=True, control=control)


def _sigma(s: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Usual weight of RED-diff: sigma itself."""
    return s


def red_diff(prior: Prior, *, w: Weight = _sigma, **options: Unpack[ScoreLossOptions]) -> ScoreLoss:
    r"""Variational sampling: $w(\sigma)\,(\hat\epsilon - n)$ with $w = b/a = \sigma$, for a falling sigma.

    The paper also tries `torch.sqrt`, `torch.square` and `torch.log1p` for w. A falling sigma is, for example,
    `sigma=schedules.log_linear(2.0, 0.02, 0, steps)`.

    Source: RED-diff (arXiv 2305.04391).
    """
    return _loss(prior, options, w, perturb=True)


def sdi(
    prior: Prior,
    *,
    steps: int = 10,
    lowest: float = 0.02,
    loudest: float | int = 1.0,
    w: Weight = 1.0,
    **options: Unpack[ScoreLossOptions],
) -> ScoreLoss:
    r"""SDS with noise from DDIM inversion of the patch: $w(\sigma)\,(\hat\epsilon - n)$ with n from `ddim_noise`.

    Deterministic, so without the variance and the blur of SDS, at `steps` more evaluations of the prior. The noise is
    weaker than N(0, I) on clean patches, and stronger on patches that are unlikely under the prior. There the prior
    takes a part of it for signal, the gradient adds that part to x, and the next noise is stronger still; therefore it
    is limited to `loudest`. The paper, whose renders are samples of large models, has no limit.

    Source: Score Distillation via Reparametrized DDIM (arXiv 2405.15891).

    Args:
        prior: The denoiser.
        steps: Number of steps of the inversion.
        lowest: Noise level at the first step of the inversion, > 0.
        loudest: Largest root mean square of the noise in each patch and channel; `math.inf` for no limit.
        w: Weight.
        **options: Passed to `ScoreLoss`.
    """
    return _loss(prior, options, w, perturb=partial(_limited_ddim_noise, prior, steps, lowest, loudest))


@renamed_arguments(particles="render_denoiser")
def vsd(
    prior: Prior, render_denoiser: Prior, *, w: Weight = sds_weight, **options: Unpack[ScoreLossOptions]
) -> ScoreLoss:
    r"""Variational score distillation: $w(\sigma)\,(\hat\epsilon - \hat\epsilon_\phi)$.

    The gradient is zero where the prior and a denoiser of the renders estimate the same noise, so where renders are
    distributed like the data. The fit therefore ends at a sample, with a larger error than the mean at which the other
    estimators end.

    Source: ProlificDreamer (arXiv 2305.16213).

    Args:
        prior: Denoiser of the data.
        render_denoiser: Denoiser of the current renders, with the same channels, trained between the steps of the fit,
            as by `scorereg.RenderDenoiser`. It needs the capacity of the prior: with a weaker one, such as a
            linear filter, the difference does not vanish, and the renders diverge. `particles` is the deprecated name.
        w: Weight.
        **options: Passed to `ScoreLoss`.
    """
    return _loss(prior, options, w, perturb=True, control=render_denoiser)


@renamed_arguments(particles="render_denoiser")
def by_name(
    name: EstimatorName,
    prior: Prior,
    *,
    w: Weight = 1.0,
    render_denoiser: Prior | None = None,
    **options: Unpack[ScoreLossOptions],
) -> ScoreLoss:
    r"""Return an estimator by name, scaled so that its expected gradient is that of `direct(prior, w=w)`.

    With this scale RED is `"direct"` with w = sigma^2, and SJC and RED-diff are `"sds"`.

    Args:
        name: One of `EstimatorName`.
        prior: The denoiser.
        w: Weight of the score.
        render_denoiser: Second denoiser, required for `"vsd"`. `particles` is the deprecated name.
        **options: Passed to `ScoreLoss`.

    Raises:
        ValueError: If the name is unknown, or `"vsd"` has no `render_denoiser`.
    """
    if name not in get_args(EstimatorName):
        raise ValueError(f"No estimator is called {name!r}; choose one of {', '.join(get_args(EstimatorName))}.")
    if name == "vsd" and render_denoiser is None:
        raise ValueError("The estimator 'vsd' needs `render_denoiser`, such as scorereg.RenderDenoiser(prior).")
    perturb = sdi(prior).perturb if name == "sdi" else name != "direct"
    control = {"sjc-unreduced": _Identity(prior.channels), "vsd": render_denoiser}.get(name)
    return _loss(prior, options, w, power=0, perturb=perturb, control=control)


def ddim_noise(
    prior: Prior,
    x: Float[Tensor, "b c *space"],
    sigma: Float[Tensor, " b"],
    *,
    steps: int = 10,
    lowest: float = 0.02,
) -> Float[Tensor, "b c *space"]:
    r"""Noise n by DDIM inversion: the reverse process from x + sigma n ends at x. Explicit Euler steps.

    $$ \frac{dx}{d\sigma} = \hat\epsilon(x, \sigma), \qquad n = \frac{x(\sigma) - x(0)}{\sigma} $$

    The first step goes from 0 to `lowest` with the noise estimated at `lowest`; the others are even in log(sigma).

    Source: Song, Meng and Ermon (DDIM, arXiv 2010.02502), eq. 14, which is this equation in variance-exploding units.

    Args:
        prior: The denoiser.
        x: Clean patches.
        sigma: Noise level at the end of the inversion, for each patch; below `lowest` it is one step.
        steps: Number of Euler steps, each with one evaluation of the prior.
        lowest: Noise level after the first step, > 0.
    """
    shape = (-1, *[1] * (x.ndim - 1))
    first = sigma.clamp(max=lowest)
    here, there, at = torch.zeros_like(sigma), first, x
    for step in range(1, steps + 1):
        level = torch.maximum(here, first)
        eps = (at - prior.denoise(at, level)) / level.reshape(shape)
        there = sigma if step == steps else first * (sigma / first) ** ((step - 1) / (steps - 1))
        at = at + (there - here).reshape(shape) * eps
        here = there
    return (at - x) / sigma.reshape(shape)


def _limited_ddim_noise(
    prior: Prior, steps: int, lowest: float, loudest: float, x: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"]
) -> Float[Tensor, "b c *space"]:
    """`ddim_noise`, scaled down to an RMS of `loudest` in each patch and channel where it is louder."""
    noise = ddim_noise(prior, x, sigma, steps=steps, lowest=lowest)
    rms = noise.flatten(2).square().mean(dim=2).sqrt()
    return noise * append_spatial_axes((loudest / rms).clamp(max=1), x.ndim)


class _Identity:
    """D(x) = x: as a control, it makes the residual that of the noised patch."""

    def __init__(self, channels: tuple[str, ...]) -> None:
        self.channels = channels

    def denoise(self, x: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b c *space"]:
        return x


def _loss(
    prior: Prior,
    options: ScoreLossOptions,
    w: Weight,
    *,
    power: int = 1,
    perturb: bool | Callable[[Tensor, Tensor], Tensor] = False,
    control: Prior | None = None,
) -> ScoreLoss:
    """`ScoreLoss` with weight sigma ** power times w; x - D is sigma times a difference of noises."""
    chosen: Weight = w if power == 0 else _Powered(w, power)
    if options.get("budget") is not None:  # it replaces the weight
        chosen = 1.0
    return ScoreLoss(prior, weight=chosen, perturb=perturb, control=control, **options)


class _Powered:
    """The weight sigma ** power times w; unlike a closure it can be pickled with the loss."""

    def __init__(self, w: Weight, power: int) -> None:
        self.w, self.power = w, power
        self.__name__ = f"sigma**{power} * {describe(w)}"

    def __call__(self, sigma: Tensor, step: int | None = None) -> Any:
        value = weight_of(self.w, sigma, step)
        return value if isinstance(value, float) and value == 0 else sigma**self.power * value
