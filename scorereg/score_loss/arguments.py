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
from scorereg.score_loss.holder import first_weight

__all__ = [
    "Level",
    "Weight",
    "budget_of",
    "channel_factors",
    "check_generator",
    "check_noise",
    "check_scaler",
    "check_settings",
    "default_sigma",
    "describe",
    "level_of",
    "noise_range",
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
    if isinstance(prior, type) and isinstance(prior, Prior):
        raise ValueError(f"ScoreLoss needs a prior, but got the class {prior.__name__}, and not an object of it.")
    if not isinstance(prior, Prior):
        raise ValueError(
            f"ScoreLoss needs a prior, an object with `channels` and `denoise(x, sigma)`, but got "
            f"{type(prior).__name__}. For a prior on disk: ScoreLoss(load_prior(name_or_folder))."
        )
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
        _check_level(_number("sigma", sigma), noise_range(prior))
    for name, value in (("weight", weight), ("budget", 0 if budget is None else budget)):
        if not callable(value):
            _check_weight(name, value)
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


def check_generator(generator: Any) -> None:
    """Refuse a `generator` that is not a `torch.Generator`, such as a seed."""
    if generator is not None and not isinstance(generator, torch.Generator):
        raise ValueError(
            f"`generator` is a torch.Generator, but it is {generator!r}. For a seed: torch.Generator().manual_seed(0)."
        )


def check_noise(noise: Any, budget: Any, normalize: Any) -> None:
    """Validate `noise`, which scales minus log p and so excludes what has a scale of its own."""
    if noise is None:
        return
    if not 0 < _number("noise", noise) < math.inf:
        raise ValueError(f"ScoreLoss needs noise > 0, the deviation of the data's residual, but got {float(noise):g}.")
    if budget is not None or normalize is not None:
        raise ValueError("ScoreLoss takes `noise`, or a strength by `budget` or `normalize`; give one of them.")


def check_scaler(scaler: Any) -> None:
    """Refuse a `scaler` that is not a `torch.amp.GradScaler`."""
    if scaler is not None and not hasattr(scaler, "scale"):
        raise ValueError(
            f"`scaler` is the torch.amp.GradScaler of the training, but it is a {type(scaler).__name__}. "
            "For a factor on the prior's gradient use `weight`."
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


def default_sigma(prior: Any) -> float:
    """The level of a call without one: a tenth of half the prior's range, within the noise range of its card."""
    card = getattr(prior, "card", None)
    low, high = getattr(card, "range", None) or (-1.0, 1.0)
    least, most = noise_range(prior) or (0.0, math.inf)
    return min(max(0.1 * (high - low) / 2, least), most)


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
        _check_weight(f"channel_weights of {name}", value)
    return torch.tensor([float(value) for value in given], dtype=torch.float32, device="cpu")


def level_of(given: Any, step: int | None, x: Tensor, trained: tuple[float, float] | None) -> Tensor | float:
    """Sigma as one number > 0, or one per patch, `(b,)`; `trained` is the range of the prior's card."""
    if callable(given):
        given = given(_need_step(step, "sigma"))
    if not isinstance(given, Tensor):  # a number costs no wait for a GPU
        number = _number("sigma", given)
        _check_level(number, trained)
        return number
    _check_constant("sigma", given)
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
    _check_constant("weight", weight)
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


def _need_step(step: Any, name: str) -> int:
    if step is None:
        raise ValueError(f"`{name}` of this ScoreLoss is a function of the step: pass it, loss(patch, step=step).")
    if isinstance(step, str):
        raise ValueError(f"ScoreLoss needs the step as a number, but got {step!r}.")
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


def _check_constant(name: str, value: Tensor) -> None:
    """Refuse a tensor without real values, or one that would be expected to learn."""
    if value.is_meta or value.is_complex():
        what = "on the meta device" if value.is_meta else "complex"
        raise ValueError(f"ScoreLoss needs {name} as real numbers, but got a tensor that is {what}.")
    if value.requires_grad:
        raise ValueError(f"ScoreLoss has no gradient to {name}, but got one that requires grad. Pass {name}.detach().")


def _check_weight(name: str, value: Any) -> None:
    if not 0 <= _number(name, value) < math.inf:
        raise ValueError(f"ScoreLoss needs {name} >= 0, and finite, but got {float(value):g}.")


def _number(name: str, value: Any) -> float:
    try:
        if isinstance(value, Tensor):
            _check_constant(name, value)
        if not isinstance(value, str) and not (name == "sigma" and isinstance(value, bool)):
            return float(value)
    except (TypeError, RuntimeError, OverflowError):
        pass  # the error below covers these too
    cure = f" For one per patch: torch.as_tensor({name})." if name == "sigma" and hasattr(value, "__len__") else ""
    raise ValueError(f"ScoreLoss needs {name} as a number, but got a {type(value).__name__}: {value!r}.{cure}")
