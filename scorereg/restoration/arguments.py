"""Checks of what the methods of restoration are given, and the defaults that follow from it."""

import math
import warnings
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

from scorereg.priors.adapters.deepinv import is_deepinv
from scorereg.priors.base import Prior
from scorereg.priors.sampling import device_of

__all__ = [
    "check_choice",
    "check_count",
    "check_levels",
    "check_linear",
    "check_number",
    "check_prior",
    "image_shape",
    "known_values",
    "user_units",
    "warn_of_range",
]


def check_prior(prior: Any, y: Any) -> None:
    """Check that there is a prior, and a measurement on its device.

    Raises:
        ValueError: If the prior is a name, a foreign denoiser or anything else that is none; if y is no tensor of
            finite floats, or on another device than the prior.
    """
    if not isinstance(prior, Prior):
        shown = f"the text {prior!r}" if isinstance(prior, str) else f"a {type(prior).__name__}"
        cure = "load_prior(denoiser, channels=('r', 'g', 'b'))" if is_deepinv(prior) else "load_prior(name_or_folder)"
        raise ValueError(
            f"restoration needs a prior, an object with `channels` and `denoise(x, sigma)`, but got {shown}. "
            f"Give {cure}."
        )
    if not isinstance(y, Tensor) or not (y.is_floating_point() or y.is_complex()):
        kind = f"a tensor of {y.dtype}" if isinstance(y, Tensor) else f"a {type(y).__name__}"
        raise ValueError(f"y must be a tensor of floats, but is {kind}.")
    if y.ndim < 2 or not len(y):
        raise ValueError(f"y needs a batch first, but has the shape {tuple(y.shape)}. For one image give y[None].")
    if not bool(torch.isfinite(y).all()):
        raise ValueError("y has values that are NaN or infinite. Set them to 0, and leave them out in measure.")
    where = device_of(prior)
    if where.type != y.device.type:
        raise ValueError(f"y is on {y.device} and the prior on {where}. Move one: y.to({str(where)!r}).")


def check_choice(method: Any, choices: tuple[str, ...], steps: Any) -> None:
    """Check the name of a method and the number of its steps.

    Raises:
        ValueError: If there is no such method, or there is no step.
    """
    if method not in choices:
        raise ValueError(f"no method is called {method!r}; choose one of {', '.join(choices)}.")
    check_count("steps", steps)


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Check that a setting is a whole number of at least 1, or another bound.

    Raises:
        ValueError: If it is not.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} must be an integer >= {least}, but is {value!r}.")


def check_number(name: str, what: str, value: Any, most: float = math.inf, *, zero: bool = False) -> float:
    """Return a setting, a positive number of at most a bound, as a float.

    Args:
        name: Name of the setting.
        what: What it is, for the error.
        value: What was given.
        most: Largest value.
        zero: Whether it may be 0.

    Raises:
        ValueError: If it is no number, or outside.
    """
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    if not (0 < number <= most or (zero and number == 0)) or number == math.inf:
        bound = f"{'>= 0' if zero else '> 0'}{'' if most == math.inf else f' and at most {most:g}'}"
        raise ValueError(f"{name} is {what} and must be {bound}, but is {value!r}.")
    return number


def check_linear(linear: Any) -> None:
    """Check that it is said whether an operator is linear, or nothing.

    Raises:
        ValueError: If it is anything else than True, False or None.
    """
    if linear is not None and not isinstance(linear, bool):
        raise ValueError(f"linear must be True, False, or None to try it out, but is {linear!r}.")


def check_levels(sigma: Any) -> tuple[float, float]:
    """Return the first and last noise level as floats.

    Raises:
        ValueError: If they are not two positive numbers of which the first is the larger, or both are equal.
    """
    try:
        first, last = (float(each) for each in sigma)
    except (TypeError, ValueError):
        raise ValueError(f"sigma must be two noise levels, (first, last), but is {sigma!r}.") from None
    if not 0 < last <= first < math.inf:
        raise ValueError(f"sigma falls from the first to the last level, both > 0, but is {first:g}, {last:g}.")
    return first, last


def user_units(prior: Prior, data_range: Any) -> tuple[float, float]:
    """Return offset and scale of the user's units: u = offset + scale x for x in prior space.

    Args:
        prior: The prior, whose card has the range of prior space; [-1, 1] without a card.
        data_range: The user's values at the ends of that range; None if they are the same.

    Raises:
        ValueError: If they are not two numbers that rise.
    """
    if data_range is None:
        return 0.0, 1.0
    try:
        low, high = (float(each) for each in data_range)
    except (TypeError, ValueError):
        raise ValueError(f"data_range must be (lowest, highest), like (0, 1), but is {data_range!r}.") from None
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"data_range must rise, like (0, 1), but is {low:g}, {high:g}.")
    bottom, top = getattr(getattr(prior, "card", None), "range", (-1.0, 1.0))
    scale = (high - low) / (top - bottom)
    return low - scale * bottom, scale


def image_shape(prior: Prior, y: Tensor, size: Any, start: Any) -> tuple[int, ...]:
    """Return the shape of the images: that of the start, of the size given, or of a measurement that is an image.

    Raises:
        ValueError: If none of them says it, or two contradict.
    """
    channels = len(prior.channels)
    if start is not None:
        if not isinstance(start, Tensor) or start.ndim < 3 or start.shape[:2] != (len(y), channels):
            shown = tuple(start.shape) if isinstance(start, Tensor) else f"a {type(start).__name__}"
            raise ValueError(f"start must be images of {channels} channels, one for each y ({len(y)}), but is {shown}.")
        if not start.is_floating_point() or not bool(torch.isfinite(start).all()):
            kind = "values that are NaN or infinite" if start.is_floating_point() else f"the type {start.dtype}"
            raise ValueError(f"start must be images of finite floats, but has {kind}.")
        if size is not None and tuple(size) != tuple(start.shape[2:]):
            raise ValueError(f"size is {tuple(size)}, but start has {tuple(start.shape[2:])} pixels. Give one of them.")
        return tuple(start.shape)
    if size is not None:
        sides = tuple(size) if isinstance(size, tuple | list) else (size,)
        if not sides or not all(isinstance(side, int) and side > 0 for side in sides):
            raise ValueError(f"size must be the image's sides in pixels, like (256, 256), but is {size!r}.")
        return (len(y), channels, *sides)
    if y.ndim >= 3 and y.shape[1] == channels:
        return tuple(y.shape)
    raise ValueError(
        f"y of shape {tuple(y.shape)} is no image of {channels} channels, so the image's size is not known. "
        f"Give size=(height, width){', or y[None] if it is one image' if y.shape[0] == channels else ''}."
    )


def known_values(start: Tensor | None, known: Any, shape: tuple[int, ...]) -> Tensor | None:
    """Check a mask of known values; return it as a boolean tensor that broadcasts to the images, or None.

    Raises:
        ValueError: If it is no boolean tensor that broadcasts to them, or no `start` has the values.
    """
    if known is None:
        return None
    if start is None:
        raise ValueError("known= says which values of start= are exact, so give start=, images with those values.")
    if not isinstance(known, Tensor) or known.dtype != torch.bool:
        kind = f"a tensor of {known.dtype}" if isinstance(known, Tensor) else f"a {type(known).__name__}"
        raise ValueError(f"known must be a boolean tensor, True at exact values, but is {kind}.")
    try:
        return known.expand(shape)
    except RuntimeError:
        raise ValueError(f"known has the shape {tuple(known.shape)}, which does not fit to images {shape}.") from None


def warn_of_range(prior: Prior, y: Tensor, noise: Any, shape: tuple[int, ...]) -> None:
    """Warn of a measurement that looks like an image in [0, 1] where images begin below 0."""
    low, high = getattr(getattr(prior, "card", None), "range", (-1.0, 1.0))
    latent = getattr(prior, "transform", None) is not None
    if latent or low >= 0 or y.is_complex() or tuple(y.shape) != shape or not isinstance(noise, int | float):
        return
    least, most = y.min().item(), y.max().item()
    if least > -5 * noise - 0.02 and 6 * noise + 0.02 < most < 1.02 + 5 * noise:
        warnings.warn(
            f"y lies in [{least:.2g}, {most:.2g}], as images in [0, 1] do, but this prior's images are in "
            f"[{low:g}, {high:g}]. If yours are in [0, 1], give data_range=(0, 1).",
            stacklevel=4,
        )
