"""Arguments of `wrap`: their checks, and what is taken for granted where they say nothing."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from scorereg.priors.adapters.conversions import Noise
from scorereg.priors.adapters.prediction_names import check_prediction
from scorereg.priors.adapters.unwrapped import inner_module
from scorereg.priors.arguments import check_values
from scorereg.priors.card import PriorCard

__all__ = [
    "Time", "assumed_of", "card_within", "check_count", "check_settings", "checked_time", "data_ends", "ranged",
]  # fmt: skip

Time = Literal["index", "fraction", "sigma"] | Callable[[Tensor], Any]

_RANGE = "data in [-1, 1] in training: data_range= says otherwise"
_VARIANCE = "of twice as many channels out, the second half is a learned variance and left out"
_ROUNDING = 0.01  # of the levels that a card says
_SIGNAL = 0.2  # share of the signal's variance that the last level of a whole table stays below


def check_settings(
    prediction: Any, noise: Noise, *, channels: Any, time: Any, sigma_range: Any, outside: Any, dtype: Any, size: Any,
    multiple: Any, card: Any,
) -> None:  # fmt: skip
    """Check the arguments of `wrap` but the network.

    Raises:
        ValueError: If one is unknown, of another type, or contradicts another.
    """
    check_prediction(prediction)
    _check_noise(prediction, noise, told=time is not None)
    _check_names(channels, size, card)
    if (isinstance(time, str) and time not in ("index", "fraction", "sigma")) or not (
        time is None or isinstance(time, str) or callable(time)
    ):
        raise ValueError(f"time is 'index', 'fraction', 'sigma' or a function, but got {time!r}.")
    if time in ("index", "fraction") and noise.sigmas is None and (time, noise.family) != ("fraction", "flow"):
        raise ValueError(f"time={time!r} counts the entries of a table; give betas, alphas_cumprod or sigmas with it.")
    if outside not in ("error", "clamp"):
        raise ValueError(f"outside is 'error' or 'clamp', but got {outside!r}.")
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        known = isinstance(getattr(torch, str(dtype), None), torch.dtype)
        cure = f"Give dtype=torch.{dtype}." if known else "Give one such as torch.float32."
        raise ValueError(f"dtype must be one of torch's for floats, but got {dtype!r}. {cure}")
    if isinstance(multiple, bool) or not isinstance(multiple, int) or multiple < 1:
        raise ValueError(f"multiple is what sides must be multiples of, 1 or more as 8, but got {multiple!r}.")


def ranged(noise: Noise, sigma_range: Any) -> Noise:
    """Return the noise with the range of its levels.

    Raises:
        ValueError: If there is a table, or the range is not two numbers, the lower one first.
    """
    if noise.sigmas is not None:
        raise ValueError(
            f"sigma_range is (low, high) where there is no table; got {sigma_range} for {noise.family}. Leave it out."
        )
    try:
        low, high = (float(end) for end in sigma_range if not isinstance(end, str))
    except (TypeError, ValueError):
        low = high = float("nan")
    if low > high >= 0:
        raise ValueError(
            f"sigma_range is (lowest, highest), but got {sigma_range}. Exchange them: ({high:g}, {low:g})."
        )
    if not 0 <= low < high:
        raise ValueError(
            f"sigma_range must be (lowest, highest) level, 0 or more, like (0.002, 80); got {sigma_range}."
        )
    return Noise(noise.family, low, high, sigma_data=noise.sigma_data)


def data_ends(data_range: Any) -> tuple[float, float]:
    """Return the lowest and highest value of the network's data.

    Raises:
        ValueError: If it is not two finite numbers, the lower one first.
    """
    try:
        low, high = (float(end) for end in data_range if not isinstance(end, str))
        if -math.inf < low < high < math.inf:
            return low, high
    except (TypeError, ValueError):
        pass  # the error below covers these too
    raise ValueError(f"data_range must be (lowest, highest), like (0, 1), but got {data_range!r}.")


def card_within(
    card: PriorCard, prediction: str, noise: Noise, unit: float, size: tuple[int, ...], *, clamp: bool
) -> PriorCard:
    """Return a card that was given for a network, its noise levels within those of the network.

    Args:
        card: The card.
        prediction: What the network predicts.
        noise: Its noise.
        unit: The network's units per unit of prior space.
        size: Size of its patches that was given; empty if none.
        clamp: Whether levels outside the network's range are clamped, so that the card may name more.

    Raises:
        ValueError: If the card names another prediction or size, or levels that the network does not know.
    """
    told = {card.prediction, card.network.get("predicts") or ""} - {""}
    if other := sorted(str(name) for name in told if _same(name) != _same(prediction)):
        raise ValueError(
            f"prediction={prediction!r} contradicts the card of {card.name!r}, which says {other[0]!r}. Give the one "
            "that the network was trained for, or leave the card out."
        )
    if size and card.size and size != tuple(card.size):
        raise ValueError(f"size={size} contradicts the card of {card.name!r}, which says {tuple(card.size)}.")
    low, high = noise.low / unit, noise.high / unit
    if clamp or (low <= card.sigma_min and card.sigma_max <= high):
        return card
    if card.sigma_min < low * (1 - _ROUNDING) or card.sigma_max > high * (1 + _ROUNDING):
        raise ValueError(
            f"the card of {card.name!r} says noise levels from {card.sigma_min:g} to {card.sigma_max:g}, but the "
            f"network knows {low:.4g} to {high:.4g} (prior-space units). Write its range into the card, as sigma_min "
            "and sigma_max; or, with wrap, outside='clamp' uses the nearest level."
        )
    return dataclasses.replace(card, sigma_min=max(card.sigma_min, low), sigma_max=min(card.sigma_max, high))


def _same(prediction: Any) -> Any:
    """One name for the predictions that mean the same."""
    return "sample" if prediction == "denoised" else prediction


def assumed_of(
    network: Any, prediction: str, noise: Noise, channels: tuple[str, ...], data_range: Any, unit: float
) -> tuple[str, ...]:
    """Return what `wrap` takes for granted, a line each; `unit` is the network's units per unit of prior space."""
    lines = [_RANGE] if data_range is None else []
    if prediction == "edm" and noise.family != "edm":
        lines.append("EDM's F of data with standard deviation 1: sigma_data= says otherwise")
    high = noise.high if noise.family == "vp" else noise.high / unit
    if noise.family in ("vp", "ve") and noise.sigmas is not None and (left := 1 / (1 + high**2)) > _SIGNAL:
        count = noise.last + 1
        lines.append(f"the noise table is whole, though the last of its {count} steps leaves {left:.0%} of the signal")
    module = inner_module(network)
    config = getattr(module, "config", None)
    said = config.get("out_channels") if isinstance(config, Mapping) else getattr(module, "out_channels", None)
    return (*lines, *([_VARIANCE] if said == 2 * len(channels) else []))


def check_count(network: Any, channels: tuple[str, ...]) -> None:
    """Check that as many channels are named as a network of diffusers takes.

    Raises:
        ValueError: If not.
    """
    config = getattr(inner_module(network), "config", None)
    count = config.get("in_channels") if isinstance(config, Mapping) else None
    if isinstance(count, int) and count != len(channels):
        kind, more = type(inner_module(network)).__name__, ""
        if count > len(channels):
            more = (
                " If it is conditioned on an image, bind that: wrap(lambda z, t: network(torch.cat([z, image], 1), t))."
            )
        raise ValueError(f"the {kind} takes {count} channels, but channels={channels} names {len(channels)}.{more}")


def checked_time(time: Any, count: int) -> Tensor:
    """Return what a function for the time returned, after a check that it is a value for each sample.

    Raises:
        ValueError: If it is not.
    """
    if isinstance(time, Tensor) and time.shape[:1] == (count,):
        return time
    got = f"shape {tuple(time.shape)}" if isinstance(time, Tensor) else f"a {type(time).__name__}"
    raise ValueError(f"the function given as time must return a tensor with a value per sample, ({count},); got {got}.")


def _check_noise(prediction: str, noise: Noise, *, told: bool) -> None:
    """Refuse a network without a description of its noise whose prediction does not say that z = x + sigma n."""
    if noise.family != "ve" or noise.sigmas is not None or told or prediction in ("denoised", "score"):
        return
    if prediction == "edm":
        raise ValueError(
            "prediction='edm' depends on the standard deviation of the training data. Give sigma_data=0.5, as EDM has; "
            "a network that returns the denoised patch itself has prediction='denoised'."
        )
    if prediction == "velocity":
        raise ValueError("prediction='velocity' is that of flow matching. Give flow=True with it.")
    more = ", or sigma_data=1 for v in EDM's manner" if prediction == "v_prediction" else ""
    raise ValueError(
        f"prediction={prediction!r} needs the noise of the training. Give betas=scorereg.priors.linear_betas(), "
        f"alphas_cumprod= or sigmas={more}; if its input is x + sigma n and its time sigma, say time='sigma'."
    )


def _check_names(channels: Any, size: Any, card: Any) -> None:
    if isinstance(channels, str) or (isinstance(channels, tuple | list) and not channels):
        raise ValueError("wrap needs the names of the network's channels, like channels=('r', 'g', 'b').")
    check_values(channels, size or None, None)
    if not all(name.strip() for name in channels):
        raise ValueError(f"channels must have names, but one of {tuple(channels)} is empty.")
    if card is not None and not isinstance(card, PriorCard):
        raise ValueError(
            f"card must be a PriorCard, but is a {type(card).__name__}. Read one from a prior's folder, "
            "PriorCard.load(folder), or leave it out."
        )
    if card is not None and tuple(card.channels) != tuple(channels):
        named = ", ".join(channels)
        raise ValueError(f"channels are {named}, but the card of {card.name!r} has {', '.join(card.channels)}.")
