r"""The published score estimators, each as the settings of a `ScoreLoss` that make it.

    x            patch in prior space; sigma its noise level; x_sigma = x + sigma n with noise n
    eps_hat      noise that the prior sees, (x_sigma - D(x_sigma, sigma)) / sigma
    w(sigma)     weight of the published gradient: a number, or a function of sigma, of the step, or of both

Papers with variance-preserving noise write x_t = a x + b n. Their network at t, asked in our units, is the same at
sigma = b / a, so b^2 = sigma^2 / (1 + sigma^2) and a^2 = 1 / (1 + sigma^2). Gradients are those on x of one patch; a
batch of b patches divides them by b.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypedDict, Unpack, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from scorereg.priors.base import Prior
from scorereg.score_loss.arguments import weight_of
from scorereg.score_loss.gradient_scale import over_space
from scorereg.score_loss.loss import ScoreLoss

__all__ = [
    "Name",
    "Settings",
    "by_name",
    "ddim_noise",
    "direct",
    "red",
    "red_diff",
    "sdi",
    "sds",
    "sds_weight",
    "sjc",
    "vsd",
]

Name = Literal["direct", "sds", "sjc-unreduced", "sdi", "vsd"]
W = float | int | Callable[..., Any]


class Settings(TypedDict, total=False):
    """What every estimator takes beside its own arguments, and hands on to `ScoreLoss`."""

    sigma: float | int | Callable[[int], Any] | None
    channel_weights: Sequence[float | int] | Mapping[str, float | int] | None
    normalize: Literal["rms"] | None
    budget: float | int | Callable[[int], Any] | None
    on_nonfinite: Literal["raise", "skip"]
    gate: float | None


def direct(prior: Prior, *, w: W = 1.0, **settings: Unpack[Settings]) -> ScoreLoss:
    r"""The score of the patch itself, no noise added: $-w\,\nabla \log p_\sigma(x) = w\,(x - D(x)) / \sigma^2$.

    Source: DiffusioNeRF (arXiv 2302.12231), with w = 1.
    """
    return _loss(prior, settings, w, power=0)


def red(prior: Prior, *, w: W = 1.0, **settings: Unpack[Settings]) -> ScoreLoss:
    r"""What a denoiser would take away: $w\,(x - D(x))$.

    Source: Regularization by Denoising (arXiv 1611.02862).
    """
    return _loss(prior, settings, w, power=2)


def sds_weight(sigma: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """b^2 of a variance-preserving process, sigma^2 / (1 + sigma^2): the usual weight of SDS."""
    return sigma.square() / (1 + sigma.square())


def sds(prior: Prior, *, w: W = sds_weight, **settings: Unpack[Settings]) -> ScoreLoss:
    r"""Score distillation: $w(\sigma)\,(\hat\epsilon - n)$, the prior's idea of the noise less the noise itself.

    Usual weights are `sds_weight`, 1, and `lambda s: sds_weight(s) / (1 + s**2) ** 0.5`. The paper draws sigma anew for
    each patch and step: give the call a random one, or the class a function of the step that returns one.

    Source: DreamFusion (arXiv 2209.14988), eq. 3.
    """
    return _loss(prior, settings, w, perturb=True)


def sjc(prior: Prior, *, variance_reduction: bool = True, w: W = 1.0, **settings: Unpack[Settings]) -> ScoreLoss:
    r"""Score Jacobian chaining: $w\,(x - D(x_\sigma)) / \sigma$, or, not reduced, with $x_\sigma$ for the first x.

    The two agree in expectation, as n has mean 0. Of the noise, the first lets through what the prior takes for
    signal, the second what it takes for noise: so the first is the quieter where sigma is large, and only there. The
    weight is that of the released code; the score as the paper defines it has another 1 / sigma, `w=lambda s: 1 / s`.

    Source: Score Jacobian Chaining (arXiv 2212.00774), as "perturb and average scoring".
    """
    against = None if variance_reduction else _Query(prior.channels)
    return _loss(prior, settings, w, perturb=True, against=against)


def red_diff(prior: Prior, *, w: W = lambda s: s, **settings: Unpack[Settings]) -> ScoreLoss:
    r"""Variational sampling: $w(\sigma)\,(\hat\epsilon - n)$ with $w = b/a = \sigma$, and sigma falling over the fit.

    The paper also tries `torch.sqrt`, `torch.square` and `torch.log1p` for w. Give a falling sigma:
    `sigma=schedules.log_linear(2.0, 0.02, 0, steps)`.

    Source: RED-diff (arXiv 2305.04391).
    """
    return _loss(prior, settings, w, perturb=True)


def sdi(
    prior: Prior,
    *,
    steps: int = 10,
    lowest: float = 0.02,
    loudest: float | int = 1.0,
    w: W = 1.0,
    **settings: Unpack[Settings],
) -> ScoreLoss:
    r"""SDS with the noise that DDIM would have made x of: $w(\sigma)\,(\hat\epsilon - n)$ with n from `ddim_noise`.

    Deterministic, so without the variance and the blur of SDS. It asks the prior `steps` times more. The noise that is
    found is weaker than sigma says on clean patches, and stronger on those that the prior finds unlikely. There the
    prior takes a part of it for signal, the gradient then adds that part to x, and the next noise is stronger still:
    so it is scaled down to `loudest`, which the paper, whose renders are samples of large models, does without.

    Source: Score Distillation via Reparametrized DDIM (arXiv 2405.15891).

    Args:
        prior: The denoiser.
        steps: Of the inversion.
        lowest: Noise level that the inversion begins with.
        loudest: Root mean square, over each patch and channel, that the noise is at most given; `math.inf`: as found.
        w: Weight.
        **settings: Of `ScoreLoss`.
    """
    return _loss(prior, settings, w, perturb=partial(_found_noise, prior, steps, lowest, loudest))


def vsd(prior: Prior, particles: Prior, *, w: W = sds_weight, **settings: Unpack[Settings]) -> ScoreLoss:
    r"""Variational score distillation: $w(\sigma)\,(\hat\epsilon - \hat\epsilon_\phi)$.

    It rests where the prior and a denoiser of the renders see the same noise: renders that are spread like the data.
    So it draws samples, whose error is larger than that of the mean which the other estimators go to.

    Source: ProlificDreamer (arXiv 2305.16213).

    Args:
        prior: The denoiser of the data.
        particles: The denoiser of what is being fitted, of the same channels. You train it between the steps, to
            denoise the present renders, as `scorereg.score_loss.vsd.Particles` does; where it equals the prior, nothing
            moves. It has to be able to become as good as the prior is: against a weaker one, such as a linear filter,
            the difference between the two denoisers never ends, and drives the renders away.
        w: Weight.
        **settings: Of `ScoreLoss`.
    """
    return _loss(prior, settings, w, perturb=True, against=particles)


def by_name(
    name: Name, prior: Prior, *, w: W = 1.0, particles: Prior | None = None, **settings: Unpack[Settings]
) -> ScoreLoss:
    r"""An estimator with the expected gradient of `direct(prior, w=w)`, so that a weight means the same for all.

    So scaled, RED is `"direct"` with w = sigma^2, and SJC and RED-diff are `"sds"`.

    Args:
        name: Which.
        prior: The denoiser.
        w: Weight of the score.
        particles: The second denoiser of `"vsd"`.
        **settings: Of `ScoreLoss`.

    Raises:
        ValueError: If there is no such name, or `"vsd"` lacks its particles.
    """
    if name not in get_args(Name):
        raise ValueError(f"No estimator is called {name!r}; choose one of {', '.join(get_args(Name))}.")
    if name == "vsd" and particles is None:
        raise ValueError("The estimator 'vsd' needs `particles`, a denoiser of what is fitted: see scorereg.Particles.")
    perturb = sdi(prior).perturb if name == "sdi" else name != "direct"
    against = {"sjc-unreduced": _Query(prior.channels), "vsd": particles}.get(name)
    return _loss(prior, settings, w, power=0, perturb=perturb, against=against)


def ddim_noise(
    prior: Prior,
    x: Float[Tensor, "b c *space"],
    sigma: Float[Tensor, " b"],
    *,
    steps: int = 10,
    lowest: float = 0.02,
) -> Float[Tensor, "b c *space"]:
    r"""The noise n for which DDIM, begun at x + sigma n, ends at x; in so many Euler steps.

    $$ \frac{dx}{d\sigma} = \hat\epsilon(x, \sigma), \qquad n = \frac{x(\sigma) - x(0)}{\sigma} $$

    The first step goes from x, asked at `lowest`, to that level, and the others to sigma by a constant factor each.

    Source: Song, Meng and Ermon (DDIM, arXiv 2010.02502), eq. 14, which in variance-exploding units is this equation.

    Args:
        prior: The denoiser.
        x: Clean patches.
        sigma: Where the inversion ends, for each patch; below `lowest` it is one step.
        steps: Number of Euler steps, each one call of the prior.
        lowest: Noise level of the first query.
    """
    shape = (-1, *[1] * (x.ndim - 1))
    first = sigma.clamp(max=lowest)
    here, there, at = torch.zeros_like(sigma), first, x
    for step in range(1, steps + 1):
        asked = torch.maximum(here, first)
        eps = (at - prior.denoise(at, asked)) / asked.reshape(shape)
        there = sigma if step == steps else first * (sigma / first) ** ((step - 1) / (steps - 1))
        at = at + (there - here).reshape(shape) * eps
        here = there
    return (at - x) / sigma.reshape(shape)


def _found_noise(
    prior: Prior, steps: int, lowest: float, loudest: float, x: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"]
) -> Float[Tensor, "b c *space"]:
    noise = ddim_noise(prior, x, sigma, steps=steps, lowest=lowest)
    rms = noise.flatten(2).square().mean(dim=2).sqrt()
    return noise * over_space((loudest / rms).clamp(max=1), x.ndim)


class _Query:
    """Leaves everything as it is, so that the residual is that of the noised patch."""

    def __init__(self, channels: tuple[str, ...]) -> None:
        self.channels = channels

    def denoise(self, x: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b c *space"]:
        return x


def _loss(
    prior: Prior,
    settings: Settings,
    w: W,
    *,
    power: int = 1,
    perturb: bool | Callable[[Tensor, Tensor], Tensor] = False,
    against: Prior | None = None,
) -> ScoreLoss:
    """The weight of `ScoreLoss` is sigma ** power times w, as x - D is sigma times a difference of noises."""

    def weight(sigma: Tensor, step: int | None = None) -> Any:
        value = weight_of(w, sigma, step)
        return value if isinstance(value, float) and value == 0 else sigma**power * value

    chosen: W = w if power == 0 else weight
    if settings.get("budget") is not None:  # which takes the place of any weight
        chosen = 1.0
    return ScoreLoss(prior, weight=chosen, perturb=perturb, against=against, **settings)
