"""`sample_posterior`: draws from the posterior of an image, given a measurement and a prior."""

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from scorereg._progress import Stage, stage, told
from scorereg.priors.base import Prior
from scorereg.priors.sampling import noise_levels
from scorereg.restoration.arguments import (
    check_choice,
    check_count,
    check_levels,
    check_linear,
    check_number,
    check_prior,
    image_shape,
    user_units,
    warn_of_range,
)
from scorereg.restoration.denoising import ImageDenoiser, Tiles
from scorereg.restoration.diffusion import ancestral, implicit
from scorereg.restoration.guidance import dps_estimate, pigdm_estimate
from scorereg.restoration.langevin import langevin
from scorereg.restoration.problem import Measure, Problem
from scorereg.restoration.proximal import proximal_step
from scorereg.restoration.result import Draws

__all__ = ["Sampler", "sample_posterior"]

Sampler = Literal["diffpir", "dps", "pigdm", "moment", "langevin"]

_HIGHEST = 5.0  # first level of a prior whose card has none, in prior-space units
_LOWEST = 0.01


def sample_posterior(
    measure: Measure,
    y: Shaped[Tensor, "b *rest"],
    prior: Prior,
    *,
    noise: float | int | Float[Tensor, "..."],
    method: Sampler = "diffpir",
    draws: int = 1,
    steps: int = 50,
    sigma: tuple[float | int, float | int] | None = None,
    levels: Float[Tensor, " n"] | None = None,
    weight: float | int = 1.0,
    zeta: float | int = 1.0,
    spread: float | int = 0.5,
    step: float | int = 0.8,
    inner: int = 4,
    clip: float | int | None = None,
    size: tuple[int, ...] | None = None,
    start: Float[Tensor, "b c *space"] | None = None,
    data_range: tuple[float | int, float | int] | None = None,
    linear: bool | None = None,
    tiles: Tiles = "shifted",
    chunk: int | None = None,
    seed: int = 0,
    show: bool = True,
) -> Draws:
    r"""Draw images from the posterior p(x | y) of a measurement y = measure(x) + noise n.

    | method | how | what it draws from | operators |
    |---|---|---|---|
    | `"langevin"` | annealed Langevin steps | the posterior, in the limit of many steps | linear |
    | `"moment"` | diffusion, covariance of x_0 by Tweedie | that of Gaussian data, in the same limit | linear |
    | `"pigdm"` | diffusion, x_0 with one variance for all pixels | biased | linear |
    | `"diffpir"` | diffusion, data step on the denoised image | biased: too narrow | any |
    | `"dps"` | diffusion, gradient of the misfit's norm | biased: its weight knows no noise | any |

    The first and `"diffpir"` call the network once a step; `"dps"` and `"pigdm"` also differentiate it once, `"moment"`
    as often as conjugate gradients iterate.

    Sources: see `scorereg.restoration.guidance`, `diffusion` and `langevin`; `docs/restoration.md` measures the bias.

    Args:
        measure: Differentiable function of a batch of images; it must treat the images of a batch alike, as all draws
            are one batch.
        y: Measurements, batch first.
        prior: The prior; `"dps"`, `"pigdm"` and `"moment"` need its gradient, which networks of this library have.
        noise: Standard deviation of the noise of `y`, > 0.
        method: Name of the sampler.
        draws: Number of draws of each image.
        steps: Number of noise levels.
        sigma: First and last noise level above 0; by default the card's, else 5 and 0.01.
        levels: All noise levels, falling, in place of `steps` and `sigma`. A draw keeps the noise of the last level, so
            that is usually 0.
        weight: Strength: of the likelihood for `"dps"`, `"pigdm"` and `"moment"`, of the prior in the data step of
            `"diffpir"`.
        zeta: Of `"diffpir"`: share of the noise that is drawn anew at each step, in [0, 1].
        spread: Of `"pigdm"`: standard deviation of clean pixels in prior-space units.
        step: Of `"langevin"`: size of a step, in (0, 1].
        inner: Of `"langevin"`: steps at each level.
        clip: Largest absolute value of denoised images in prior space; by default none.
        size: Spatial shape of the images; by default that of `y` if it is an image.
        start: Of `"diffpir"` and `"langevin"`: images that the first noise is added to, in the user's range.
        data_range: The user's values that are the ends of the prior's range; by default images are in prior space.
        linear: Whether the operator is linear; by default it is tried out.
        tiles: How a prior of patches denoises larger images, see `restore`.
        chunk: Draws that are computed at a time; by default all.
        seed: Seed of all random numbers, which are drawn on the CPU.
        show: Say on standard error how far it is, every 5 seconds.

    Returns:
        The draws, with their mean and standard deviation.

    Raises:
        ValueError: If an argument cannot be, the operator is not linear where the method needs that, or the prior has
            no gradient where it is needed.

    Example:
        >>> import torch
        >>> from scorereg import GaussianFieldPrior, sample_posterior
        >>> prior = GaussianFieldPrior(size=8, channels=("gray",))
        >>> y = torch.zeros(1, 1, 8, 4)
        >>> found = sample_posterior(lambda x: x[..., :4], y, prior, noise=0.1, size=(8, 8), draws=3, steps=8)
        >>> found.images.shape, found.std.shape
        (torch.Size([3, 1, 1, 8, 8]), torch.Size([1, 1, 8, 8]))
    """
    check_prior(prior, y)
    check_choice(method, get_args(Sampler), steps)
    check_linear(linear)
    for name, value in (("draws", draws), ("chunk", 1 if chunk is None else chunk), ("inner", inner)):
        check_count(name, value)
    check_count("seed", seed, 0)
    shape = image_shape(prior, y, size, start)
    if data_range is None:
        warn_of_range(prior, y, noise, shape)
    chain = _levels(prior, steps, sigma, levels, method)
    settings = {
        "zeta": check_number("zeta", "the share of noise that is drawn anew", zeta, 1.0, zero=True),
        "spread": check_number("spread", "the standard deviation of clean pixels", spread),
        "step": check_number("step", "the size of a step", step, 1.0),
        "inner": inner,
        "weight": check_number("weight", "the strength of the method", weight),
        "clip": math.inf if clip is None else check_number("clip", "the largest absolute value", clip),
    }
    generator = torch.Generator().manual_seed(seed)
    parts = [min(chunk or draws, draws - first) for first in range(0, draws, chunk or draws)]
    total = len(parts) * (len(chain) - 1) * (inner if method == "langevin" else 1)
    images, misfits, calls = [], [], 0
    with told() if show else nullcontext(), stage(f"{method}, step", total) as progress:
        for count in parts:
            problem = Problem(
                measure, y.repeat(count, *[1] * (y.ndim - 1)), _repeated(noise, y, count),
                (count * shape[0], *shape[1:]), user_units(prior, data_range), linear,
            )  # fmt: skip
            _check_linear(problem, method)
            denoiser = ImageDenoiser(prior, shape[2:], tiles=tiles, seed=seed)
            first = None if start is None else problem.to_prior(start).repeat(count, *[1] * (len(shape) - 1))
            x = _draw(problem, denoiser, method, first, chain, settings, generator, progress)
            images.append(problem.to_user(x).unflatten(0, (count, shape[0])))
            misfits.append(problem.residual_rms(x).unflatten(0, (count, shape[0])))
            calls += denoiser.calls
    return Draws(torch.cat(images), calls, torch.cat(misfits), method)


def _draw(
    problem: Problem,
    denoiser: ImageDenoiser,
    method: str,
    start: Tensor | None,
    levels: Tensor,
    settings: dict[str, Any],
    generator: torch.Generator,
    progress: Stage,
) -> Tensor:
    """One draw for each image of a problem, in prior space."""

    def normal(shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=problem.dtype).to(problem.y.device)

    x = levels[0].item() * normal(problem.shape)
    x = x if start is None else start + x
    if method == "langevin":
        pace = {name: settings[name] for name in ("step", "inner")}
        return langevin(problem, denoiser, x, levels[levels > 0], **pace, normal=normal, report=progress.step)
    guess = _estimate(problem, denoiser, method, settings)

    def estimate(x: Tensor, sigma: float) -> Tensor:
        progress.step()
        return guess(x, sigma)

    if method == "diffpir":
        return implicit(estimate, x, levels, lambda: normal(problem.shape), zeta=settings["zeta"])
    return ancestral(estimate, x, levels, lambda: normal(problem.shape))


def _estimate(
    problem: Problem, denoiser: ImageDenoiser, method: str, settings: dict[str, Any]
) -> Callable[[Tensor, float], Tensor]:
    weight, clip = settings["weight"], settings["clip"]
    if method == "dps":
        return lambda x, sigma: dps_estimate(problem, denoiser, x, sigma, weight=weight, clip=clip)
    if method == "diffpir":

        def split(x: Tensor, sigma: float) -> Tensor:
            return proximal_step(problem, denoiser.at(x, sigma).clamp(-clip, clip), sigma / weight**0.5)

        return split
    spread = settings["spread"] if method == "pigdm" else None
    return lambda x, sigma: pigdm_estimate(problem, denoiser, x, sigma, weight=weight, clip=clip, spread=spread)


def _levels(prior: Prior, steps: int, sigma: Any, levels: Tensor | None, method: str) -> Tensor:
    """Falling noise levels: those given, or with a last one of 0 `noise_levels`, for Langevin geometric ones."""
    if levels is not None:
        given = torch.as_tensor(levels, dtype=torch.float64) if isinstance(levels, Tensor | list | tuple) else Tensor()
        if given.ndim != 1 or len(given) < 2 or bool((given.diff() >= 0).any()) or given[-1] < 0:
            raise ValueError("levels must be at least two noise levels that fall, the last one >= 0.")
        return given
    card = getattr(prior, "card", None)
    low, high = (card.sigma_min, card.sigma_max) if card else (_LOWEST, _HIGHEST)
    high, low = (min(high, 80.0), max(low, 1e-3)) if sigma is None else check_levels(sigma)
    if method != "langevin":
        return noise_levels(low, high, steps)
    share = torch.linspace(0, 1, steps, dtype=torch.float64)
    return torch.cat([high ** (1 - share) * low**share, torch.zeros(1, dtype=torch.float64)])


def _repeated(noise: Any, y: Tensor, count: int) -> Any:
    """Noise of each value, repeated with the measurements."""
    if not isinstance(noise, Tensor) or noise.ndim < y.ndim or len(noise) == 1:
        return noise
    return noise.repeat(count, *[1] * (noise.ndim - 1))


def _check_linear(problem: Problem, method: str) -> None:
    if method in ("pigdm", "moment", "langevin") and not problem.linear:
        raise ValueError(
            f"method={method!r} is for linear operators, and measure is none. Take 'dps' or 'diffpir', or give "
            "linear=True if it is one up to rounding."
        )
