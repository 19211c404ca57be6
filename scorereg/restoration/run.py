"""`restore`: an image from a measurement of it, a differentiable operator and a prior."""

from contextlib import nullcontext
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from scorereg._progress import Stage, stage, told
from scorereg.priors.base import Prior
from scorereg.restoration.arguments import (
    check_choice,
    check_count,
    check_levels,
    check_linear,
    check_number,
    check_prior,
    image_shape,
    known_values,
    user_units,
    warn_of_range,
)
from scorereg.restoration.denoising import ImageDenoiser, Tiles
from scorereg.restoration.descent import descend
from scorereg.restoration.posterior import sample_posterior
from scorereg.restoration.problem import Measure, Problem
from scorereg.restoration.proximal import proximal_step
from scorereg.restoration.result import Restored
from scorereg.restoration.splitting import half_quadratic

__all__ = ["Method", "restore"]

Method = Literal["hqs", "annealed", "red", "red-diff", "mean"]

_DEFAULTS: dict[str, tuple[float, int, tuple[float, float]]] = {  # weight, steps, first and last noise level
    "hqs": (0.25, 30, (1.0, 0.02)),
    "annealed": (1.0, 100, (1.0, 0.05)),
    "red": (1.0, 100, (0.05, 0.05)),
    "red-diff": (0.25, 100, (1.0, 0.05)),
    "mean": (1.0, 20, (2.0, 0.02)),
}
_SPREAD = 0.5  # standard deviation of images about mid-grey, for the first guess


def restore(
    measure: Measure,
    y: Shaped[Tensor, "b *rest"],
    prior: Prior,
    *,
    noise: float | int | Float[Tensor, "..."],
    method: Method = "hqs",
    steps: int | None = None,
    sigma: tuple[float | int, float | int] | None = None,
    weight: float | int | None = None,
    rate: float | int = 0.05,
    draws: int = 8,
    size: tuple[int, ...] | None = None,
    start: Float[Tensor, "b c *space"] | None = None,
    known: Bool[Tensor, "..."] | None = None,
    data_range: tuple[float | int, float | int] | None = None,
    linear: bool | None = None,
    discrepancy: float | int | None = None,
    tiles: Tiles = "shifted",
    seed: int = 0,
    show: bool = True,
) -> Restored:
    r"""Restore images from measurements y = measure(x) + noise n, with a diffusion prior.

    | method | what it computes |
    |---|---|
    | `"hqs"` | mode of p(y \| x) p_sigma(x)^weight while sigma falls, by half-quadratic splitting |
    | `"annealed"` | the same by gradient descent (Adam) on the likelihood and the score |
    | `"red"` | regularisation by denoising at the last sigma, by gradient descent |
    | `"red-diff"` | variational: gradient of SDS with a falling sigma, by gradient descent |
    | `"mean"` | mean of `draws` posterior draws by `"diffpir"`, of least squared error |

    All take any operator; the data step of `"hqs"` and `"mean"` is exact for linear ones, which makes them fast.

    Sources: see `scorereg.restoration.splitting` and `descent`. Deterministic for a seed on one machine.

    Args:
        measure: Differentiable function of a batch of images, without noise, to anything that begins with the batch.
        y: Measurements, batch first; real or complex.
        prior: The prior, as of `load_prior`. A prior over latents restores latents: `lambda z:
            measure(prior.transform.inverse(z))`.
        noise: Standard deviation of the noise of `y`, in its units, > 0: a number, or a tensor that broadcasts to it.
        method: Name of the method.
        steps: Calls of the denoiser (of each draw, for `"mean"`); by default 30 for `"hqs"`, 20 for `"mean"`, else 100.
        sigma: First and last noise level, in prior-space units, geometric in between; by default (1, 0.02) for
            `"hqs"`, (2, 0.02) for `"mean"`, 0.05 for `"red"`, else (1, 0.05).
        weight: Strength of the prior; by default 0.25 for `"hqs"` and `"red-diff"`, else 1.
        rate: Of the descents: learning rate of Adam, in prior-space units.
        draws: Of `"mean"`: number of draws.
        size: Spatial shape of the images; by default that of `y` if it is an image of the prior's channels.
        start: First guess, in the user's range; by default the image near mid-grey that explains `y`. An operator that
            is not linear starts from noise.
        known: True at values of `start` that are exact and stay as they are; broadcasts to the images. Elsewhere
            `start` is a first guess, and the mean is a better one than black.
        data_range: The user's values that are the ends of the prior's range, (0, 1) for usual photos; by default
            images are in prior space, which is [-1, 1] unless the card says otherwise.
        linear: Whether the operator is linear (up to a constant); by default it is tried out on two images.
        discrepancy: Stop once the RMS of (measure(x) - y) / noise is at most this, 1 by Morozov's principle; by default
            every step is taken.
        tiles: How a prior of patches denoises larger images: `"shifted"`, tiles that overlap by an eighth and lie
            elsewhere at each step; `"blended"`, tiles that overlap by half, three times as slow; `"none"`, the prior
            gets the whole image.
        seed: Seed of the tiles' places and of all noise.
        show: Say on standard error how far it is, every 5 seconds.

    Returns:
        The restored images and how they came about.

    Raises:
        ValueError: If an argument cannot be, sizes do not fit, or the operator is random or not differentiable.

    Example:
        >>> import torch
        >>> from scorereg import GaussianFieldPrior, restore
        >>> prior = GaussianFieldPrior(size=16, channels=("gray",))
        >>> y = torch.ones(1, 1, 16, 8)
        >>> restore(lambda x: x[..., ::2], y, prior, noise=0.05, size=(16, 16)).image.shape
        torch.Size([1, 1, 16, 16])
    """
    check_prior(prior, y)
    check_choice(method, get_args(Method), 1 if steps is None else steps)
    check_linear(linear)
    check_count("seed", seed, 0)
    rate = check_number("rate", "the learning rate of Adam", rate)
    usual = _DEFAULTS[method]
    steps, sigma = usual[1] if steps is None else steps, usual[2] if sigma is None else sigma
    levels = _levels(sigma, steps)
    shape = image_shape(prior, y, size, start)
    if data_range is None:
        warn_of_range(prior, y, noise, shape)
    strength = check_number("weight", "the strength of the prior", usual[0] if weight is None else weight)
    if method == "mean":
        return _mean(
            measure, y, prior, known, noise=noise, draws=draws, steps=steps, sigma=sigma, weight=strength,
            size=shape[2:], data_range=data_range, linear=linear, tiles=tiles, seed=seed, show=show,
        )  # fmt: skip
    problem = Problem(measure, y, noise, shape, user_units(prior, data_range), linear)
    mask = known_values(start, known, shape)
    generator = torch.Generator().manual_seed(seed)
    x = _first_guess(problem, start, generator)
    denoiser = ImageDenoiser(prior, shape[2:], tiles=tiles, known=mask, seed=seed)
    free = None if mask is None else ~mask
    with told() if show else nullcontext(), stage(f"{method}, step", steps) as progress:
        watch = _Watch(problem, discrepancy, progress)
        if method == "hqs":
            half_quadratic(problem, denoiser, x, levels, weight=strength, free=free, report=watch)
        else:
            descend(
                problem, denoiser, x, levels, method=method, weight=strength, rate=rate, free=free,
                generator=generator, report=watch,
            )  # fmt: skip
    image = problem.to_user(watch.image)
    if mask is not None and start is not None:  # a range and back has rounding
        image = torch.where(mask, start.to(image), image)
    return Restored(image, len(watch.history), denoiser.calls, tuple(watch.history), method)


class _Watch:
    """Keeps the residuals of a run and the image of each sample's last step, and says when all have met the target."""

    def __init__(self, problem: Problem, discrepancy: float | int | None, progress: Stage) -> None:
        if discrepancy is not None:
            check_number("discrepancy", "a residual in units of the noise", discrepancy)
        self.problem, self.target, self.progress = problem, discrepancy, progress
        self.history: list[float] = []
        self.image = torch.empty(0)
        self.met = torch.zeros(problem.shape[0], dtype=torch.bool, device=problem.y.device)

    def __call__(self, x: Tensor) -> bool:
        """Take note of a step's image; return whether every sample has met the target."""
        at = self.problem.residual_rms(x)
        self.history.append(at.mean().item())
        self.progress.step(f"residual {self.history[-1]:.2f} of the noise")
        shape = (-1, *[1] * (x.ndim - 1))
        self.image = x.clone() if len(self.history) == 1 else torch.where(self.met.reshape(shape), self.image, x)
        if self.target is not None:
            self.met |= at <= self.target
        return bool(self.met.all())


def _mean(
    measure: Measure, y: Tensor, prior: Prior, known: Tensor | None, *, sigma: tuple[float | int, float | int], **given
) -> Restored:
    """The mean of posterior draws, with its residual."""
    if known is not None:
        raise ValueError("method='mean' has no known=. Take method='hqs', or give known values a small noise.")
    found = sample_posterior(measure, y, prior, method="diffpir", sigma=sigma, **given)
    mean = found.mean
    problem = Problem(measure, y, given["noise"], tuple(mean.shape), linear=True)
    rms = problem.residual_rms(mean).mean().item()
    return Restored(mean, given["steps"], found.calls, (rms,), "mean")


def _levels(sigma: tuple[float | int, float | int], steps: int) -> Float[Tensor, " n"]:
    first, last = check_levels(sigma)
    share = torch.linspace(0, 1, steps, dtype=torch.float64)
    return first ** (1 - share) * last**share


def _first_guess(problem: Problem, start: Tensor | None, generator: torch.Generator) -> Tensor:
    """The start in prior space; without one, the image near the middle that explains y, or noise."""
    if start is not None:
        return problem.to_prior(start)
    x = torch.zeros(problem.shape, dtype=problem.dtype, device=problem.y.device)
    if problem.linear:
        return proximal_step(problem, x, _SPREAD)
    return _SPREAD * torch.randn(problem.shape, generator=generator).to(x)
