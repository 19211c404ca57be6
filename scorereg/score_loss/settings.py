"""Settings of `ScoreLoss`: their validation, their defaults, and how they are shown."""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from scorereg.priors.base import Prior
from scorereg.priors.composition import check_prior
from scorereg.score_loss.arguments import check_level, check_weight, number_of
from scorereg.score_loss.holder import first_weight

__all__ = ["channel_factors", "check_noise", "check_settings", "default_sigma", "describe", "noise_range"]


def check_settings(
    prior: Any,
    sigma: Any,
    weight: Any,
    normalize: Any,
    budget: Any,
    perturb: Any,
    control: Any,
    on_nonfinite: Any,
    gate: Any,
) -> None:
    """Validate the arguments of the constructor.

    Raises:
        ValueError: If one of them is invalid, or two exclude each other.
    """
    if isinstance(prior, type) and isinstance(prior, Prior):
        raise ValueError(f"ScoreLoss needs a prior, but got the class {prior.__name__}, and not an object of it.")
    check_prior(prior, "ScoreLoss")
    for denoiser in (prior, control):
        if getattr(first_weight(denoiser), "is_meta", False):
            raise ValueError(
                f"The weights of {type(denoiser).__name__} are on the meta device, and have no values. Load them first."
            )
    if control is not None and (not isinstance(control, Prior) or tuple(control.channels) != tuple(prior.channels)):
        raise ValueError(
            f"ScoreLoss needs `control` to be a denoiser of the prior's channels, {', '.join(prior.channels)}, but got "
            f"{type(control).__name__} of {', '.join(getattr(control, 'channels', ())) or 'none'}."
        )
    if sigma is not None and not callable(sigma):
        check_level(number_of("sigma", sigma), noise_range(prior))
    for name, value in (("weight", weight), ("budget", 0 if budget is None else budget)):
        if not callable(value):
            check_weight(name, value)
    if normalize not in (None, "rms"):
        raise ValueError(f"ScoreLoss knows normalize=None and normalize='rms', but got {normalize!r}.")
    if budget is not None and (normalize is not None or callable(weight) or weight != 1):
        raise ValueError("ScoreLoss takes a budget in place of `weight` and `normalize`; give the one or the others.")
    if not isinstance(perturb, bool) and not callable(perturb):
        raise ValueError(
            f"ScoreLoss takes perturb=True, False or a function of (x, sigma) that returns noise, but got {perturb!r}."
        )
    if on_nonfinite not in ("raise", "skip"):
        raise ValueError(f"ScoreLoss knows on_nonfinite='raise' and 'skip', but got {on_nonfinite!r}.")
    if gate is not None and (perturb or control is not None):
        raise ValueError(
            "ScoreLoss(gate=...) compares the residual of the patch itself with that of clean ones, so it needs an "
            "estimator without noise: perturb=False and control=None."
        )


def check_noise(noise: Any, budget: Any, normalize: Any) -> None:
    """Validate `noise`, which scales minus log p and so excludes what has a scale of its own."""
    if noise is None:
        return
    if not 0 < number_of("noise", noise) < math.inf:
        raise ValueError(f"ScoreLoss needs noise > 0, the deviation of the data's residual, but got {float(noise):g}.")
    if budget is not None or normalize is not None:
        raise ValueError("ScoreLoss takes `noise`, or a strength by `budget` or `normalize`; give one of them.")


def describe(value: Any) -> str:
    """Short text of a setting, for `repr`: numbers; else the name on a prior's card, of a function or of a class."""
    if isinstance(value, Tensor):
        return f"[{', '.join(f'{number:g}' for number in value.flatten().tolist())}]"
    if not callable(value) and not hasattr(value, "denoise"):
        return f"{value:g}" if isinstance(value, float) else repr(value)
    function = value.func if isinstance(value, functools.partial) else value
    fallback = getattr(function, "__name__", type(function).__name__)
    return getattr(getattr(value, "card", None), "name", fallback)


def noise_range(prior: Any) -> tuple[float, float] | None:
    """Smallest and largest sigma on the prior's card; `None` without a card."""
    card = getattr(prior, "card", None)
    return None if card is None else (card.sigma_min, card.sigma_max)


def default_sigma(prior: Any) -> float:
    """The level of a call without one: a fifth of half the prior's range, within the noise range of its card."""
    card = getattr(prior, "card", None)
    low, high = getattr(card, "range", None) or (-1.0, 1.0)
    least, most = noise_range(prior) or (0.0, math.inf)
    return min(max(0.2 * (high - low) / 2, least), most)


def channel_factors(given: Sequence[float | int] | Mapping[str, float | int], channels: Sequence[str]) -> Tensor:
    """One factor per channel, `(c,)`, from a sequence in the prior's order or a dict by name."""
    if not isinstance(given, Mapping | Sequence | Tensor) or isinstance(given, str) or getattr(given, "ndim", 1) != 1:
        raise ValueError(
            f"ScoreLoss needs channel_weights as one number for each of {', '.join(channels)}, or a dict by name, but "
            f"got {given!r}. For one factor on all channels use `weight`."
        )
    if isinstance(given, Mapping):
        expanded = {name: value for key, value in given.items() for name in ("rgb" if key == "rgb" else (key,))}
        unknown = [name for name in expanded if name not in channels]
        if unknown:
            raise ValueError(
                f"ScoreLoss got channel_weights for {', '.join(unknown)}, but the prior knows {', '.join(channels)}."
            )
        given = [expanded.get(name, 1.0) for name in channels]
    if len(given) != len(channels):
        raise ValueError(
            f"ScoreLoss got {len(given)} channel_weights, but the prior knows {len(channels)} channels: "
            f"{', '.join(channels)}. Give one for each, or a dict by name."
        )
    for name, value in zip(channels, given, strict=True):
        check_weight(f"channel_weights of {name}", value)
    return torch.tensor([float(value) for value in given], dtype=torch.float32, device="cpu")
