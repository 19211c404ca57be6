"""Validation and conversion of the arguments of `ScoreLoss`: noise levels, weights, masks; and its error messages."""

import functools
import inspect
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from scorereg.priors.base import Prior

__all__ = [
    "Level",
    "Weight",
    "budget_of",
    "channel_factors",
    "check_patch",
    "check_settings",
    "describe",
    "free_values",
    "level_of",
    "noise_range",
    "nonfinite_message",
    "renamed_arguments",
    "weight_of",
]

Level = float | int | Float[Tensor, "*b"]
Weight = float | int | Callable[..., Any]

P = ParamSpec("P")
R = TypeVar("R")

_LESS, _MORE = 0.999, 1.001  # room for the rounding of a schedule's ends


def renamed_arguments(**new_names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function so that it takes keyword arguments by their old names too, with a `DeprecationWarning`.

    Args:
        **new_names: New name by old name.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            for old in new_names.keys() & kwargs.keys():
                new = new_names[old]
                if new in kwargs:
                    raise ValueError(f"Got both `{new}` and `{old}`, its old name; give `{new}` alone.")
                warnings.warn(f"`{old}` is deprecated: it is called `{new}` now.", DeprecationWarning, stacklevel=2)
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call

    return decorate


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
    if not isinstance(prior, Prior):
        raise ValueError(
            f"ScoreLoss needs a prior, an object with `channels` and `denoise(x, sigma)`, but got "
            f"{type(prior).__name__}. For a prior on disk: ScoreLoss(load_prior(name_or_folder))."
        )
    if control is not None and (not isinstance(control, Prior) or tuple(control.channels) != tuple(prior.channels)):
        raise ValueError(
            f"ScoreLoss needs `control` to be a denoiser of the prior's channels, {', '.join(prior.channels)}, but got "
            f"{type(control).__name__} of {', '.join(getattr(control, 'channels', ())) or 'none'}."
        )
    if sigma is not None and not callable(sigma):
        _check_level(_number("sigma", sigma), noise_range(prior))
    for name, value in (("weight", weight), ("budget", 0 if budget is None else budget)):
        if not callable(value):
            _check_weight(name, value)
    if normalize not in (None, "rms"):
        raise ValueError(f"ScoreLoss knows normalize=None and normalize='rms', but got {normalize!r}.")
    if budget is not None and (normalize is not None or callable(weight) or weight != 1):
        raise ValueError("ScoreLoss takes a budget in place of `weight` and `normalize`; give the one or the others.")
    if on_nonfinite not in ("raise", "skip"):
        raise ValueError(f"ScoreLoss knows on_nonfinite='raise' and 'skip', but got {on_nonfinite!r}.")
    if gate is not None and (perturb or control is not None):
        raise ValueError(
            "ScoreLoss(gate=...) compares the residual of the patch itself with that of clean ones, so it needs an "
            "estimator without noise: perturb=False and control=None."
        )


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


def channel_factors(given: Sequence[float | int] | Mapping[str, float | int], channels: Sequence[str]) -> Tensor:
    """One factor per channel, `(c,)`, from a sequence in the prior's order or a dict by name."""
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
        _check_weight(f"channel_weights of {name}", value)
    return torch.tensor([float(value) for value in given])


def check_patch(patch: Tensor, channels: Sequence[str]) -> None:
    """Refuse a patch whose type or shape does not fit the prior's channels."""
    if not patch.is_floating_point():
        raise ValueError(f"ScoreLoss needs a patch of floating-point numbers, but got {patch.dtype}.")
    if patch.ndim < 3 or len(patch) == 0:
        raise ValueError(
            f"ScoreLoss needs a batch of at least one patch, shape (b, c, h, w), or with 1 or 3 spatial dimensions, "
            f"but got shape {tuple(patch.shape)}."
        )
    if patch.shape[1] != len(channels):
        raise ValueError(
            f"ScoreLoss got a patch of shape {tuple(patch.shape)}, so {patch.shape[1]} channels, but the prior "
            f"knows {len(channels)}: {', '.join(channels)}. "
            "Build the patch with a transform that has the prior's `channels`."
        )


def free_values(known: Tensor, x: Tensor) -> Tensor:
    """Inverse of the mask `known` as numbers: 1 where a value may move, 0 where it is known; in the dtype of `x`."""
    fits = known.ndim == x.ndim and all(k in (1, n) for k, n in zip(known.shape, x.shape, strict=True))
    if known.dtype != torch.bool or not fits:  # fewer dimensions would broadcast, silently, to the wrong axes
        raise ValueError(
            f"ScoreLoss needs `known` as a boolean mask with each size that of the patch, {tuple(x.shape)}, or 1, but "
            f"got {known.dtype} of shape {tuple(known.shape)}. To mark whole patches: rearrange(known, 'b -> b 1 1 1')."
        )
    return (~known).to(x)


def level_of(given: Any, step: int | None, x: Tensor, trained: tuple[float, float] | None) -> Tensor | float:
    """Sigma as one number > 0, or one per patch, `(b,)`; `trained` is the range of the prior's card."""
    if given is None:
        raise ValueError(
            "ScoreLoss has no sigma. Give one to the class, ScoreLoss(prior, sigma=0.1), or to the call, "
            "loss(patch, 0.1)."
        )
    if callable(given):
        given = given(_need_step(step, "sigma"))
    if not isinstance(given, Tensor):  # a number costs no wait for a GPU
        number = _number("sigma", given)
        _check_level(number, trained)
        return number
    if given.ndim and given.shape != x.shape[:1]:  # would broadcast, silently, to the wrong patches
        raise ValueError(
            f"ScoreLoss needs one sigma per patch, shape ({len(x)},), but got shape {tuple(given.shape)}. "
            "For one level everywhere, pass a number."
        )
    level = given.detach().to(x)
    low, high = trained or (0.0, math.inf)
    if not (level.isfinite() & (level > 0) & (level >= low * _LESS) & (level <= high * _MORE)).all():
        for value in sorted(level.flatten().tolist()):
            _check_level(value, trained)
    return level.expand(len(x))


def weight_of(weight: Any, level: Tensor, step: int | None) -> Tensor | float:
    """The weight, a number or `(b,)`; a function is called with sigma, and with the step if a parameter is named so."""
    if callable(weight):
        weight = _call(weight, level, step)
    if not isinstance(weight, Tensor):
        _check_weight("weight", weight)
        return float(weight)
    if weight.ndim and weight.shape != level.shape:
        raise ValueError(
            f"ScoreLoss needs one weight per patch, shape {tuple(level.shape)}, but the function given as `weight` "
            f"returned shape {tuple(weight.shape)}."
        )
    weight = weight.detach().to(level)
    if not (weight.isfinite() & (weight >= 0)).all():
        raise ValueError(
            f"ScoreLoss needs weights that are finite and at least 0, but the function given as `weight` returned "
            f"{weight.min().item():g} to {weight.max().item():g}."
        )
    return weight.expand(level.shape)


def budget_of(budget: Any, step: int | None) -> float:
    """The budget at a step."""
    value: Any = budget(_need_step(step, "budget")) if callable(budget) else budget
    _check_weight("budget", value)
    return float(value)


def nonfinite_message(patch: Tensor, residual: Tensor, channels: Sequence[str], step: int | None) -> str:
    """Text of the error for a loss that is not finite, with the place of the first such value."""
    at = "" if step is None else f" at step {step}"
    for tensor, what in ((patch, "ScoreLoss got a patch that is"), (residual, "The prior returned a patch that is")):
        bad = (~tensor.isfinite()).nonzero()
        if len(bad):
            first = bad[0].tolist()
            return (
                f"{what} not finite{at}: {len(bad)} of {tensor.numel()} values, the first in patch {first[0]}, channel "
                f"{channels[first[1]]!r}. Look for a division by an opacity of 0, or a learning rate that is too high."
            )
    return f"The value of ScoreLoss is not finite{at}, though patch and prior are: the numbers are too large."


def _call(function: Any, level: Tensor, step: int | None) -> Any:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # one of torch's own, such as torch.square
        return function(level)
    named = [
        p.name
        for p in parameters.values()
        if p.name == "step" or (p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
    ]
    if "step" not in named or (step is None and parameters["step"].default is not inspect.Parameter.empty):
        return function(level)
    step = _need_step(step, "weight")
    return function(**{name: step if name == "step" else level for name in named})


def _need_step(step: int | None, name: str) -> int:
    if step is None:
        raise ValueError(f"`{name}` of this ScoreLoss is a function of the step: pass it, loss(patch, step=step).")
    return step


def _check_level(sigma: float, trained: tuple[float, float] | None) -> None:
    if math.isnan(sigma) or math.isinf(sigma):
        raise ValueError(f"ScoreLoss needs a finite sigma, but one of those given is {sigma:g}.")
    if sigma <= 0:
        raise ValueError(f"ScoreLoss needs sigma > 0; the smallest given is {sigma:g}.")
    if trained is not None and not trained[0] * _LESS <= sigma <= trained[1] * _MORE:
        raise ValueError(
            f"ScoreLoss got sigma {sigma:g}, but the prior was trained for {trained[0]:g} to {trained[1]:g}. "
            "Keep the schedule within the range of the prior's card."
        )


def _check_weight(name: str, value: Any) -> None:
    if not 0 <= _number(name, value) < math.inf:
        raise ValueError(f"ScoreLoss needs {name} >= 0, and finite, but got {float(value):g}.")


def _number(name: str, value: Any) -> float:
    try:
        if not isinstance(value, str):
            return float(value)
    except (TypeError, ValueError, RuntimeError):
        pass  # the error below covers these too
    raise ValueError(f"ScoreLoss needs {name} as a number, but got a {type(value).__name__}: {value!r}.")
