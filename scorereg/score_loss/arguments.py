"""Arguments of a call of `ScoreLoss` as tensors and numbers: noise levels, weights, budgets."""

import functools
import inspect
import math
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = [
    "Level",
    "Weight",
    "budget_of",
    "check_generator",
    "check_level",
    "check_scaler",
    "check_weight",
    "level_of",
    "number_of",
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


def check_generator(generator: Any) -> None:
    """Refuse a `generator` that is not a `torch.Generator`, such as a seed."""
    if generator is not None and not isinstance(generator, torch.Generator):
        raise ValueError(
            f"`generator` is a torch.Generator, but it is {generator!r}. For a seed: torch.Generator().manual_seed(0)."
        )


def check_scaler(scaler: Any) -> None:
    """Refuse a `scaler` that is not a `torch.amp.GradScaler`."""
    if scaler is not None and not hasattr(scaler, "scale"):
        raise ValueError(
            f"`scaler` is the torch.amp.GradScaler of the training, but it is a {type(scaler).__name__}. "
            "For a factor on the prior's gradient use `weight`."
        )


def level_of(given: Any, step: int | None, x: Tensor, trained: tuple[float, float] | None) -> Tensor | float:
    """Sigma as one number > 0, or one per patch, `(b,)`; `trained` is the range of the prior's card."""
    if callable(given):
        given = given(_need_step(step, "sigma"))
    if not isinstance(given, Tensor):  # a number costs no wait for a GPU
        number = number_of("sigma", given)
        check_level(number, trained)
        return number
    check_constant("sigma", given)
    if given.ndim and given.shape != x.shape[:1]:  # would broadcast, silently, to the wrong patches
        raise ValueError(
            f"ScoreLoss needs one sigma per patch, shape ({len(x)},), but got shape {tuple(given.shape)}. "
            "For one level everywhere, pass a number."
        )
    level = given.detach().to(x)
    low, high = trained or (0.0, math.inf)
    if not _all(level.isfinite() & (level > 0) & (level >= low * _LESS) & (level <= high * _MORE), "sigma"):
        for value in sorted(level.flatten().tolist()):
            check_level(value, trained)
    return level.expand(len(x))


def _all(right: Tensor, name: str) -> bool:
    """Whether every number is right; in a compiled graph, which cannot wait to know, an assertion of its own."""
    if not torch.compiler.is_compiling():
        return bool(right.all())
    torch._assert_async(
        right.all(), f"ScoreLoss, in a compiled graph: {name} is out of range. Run without torch.compile."
    )
    return True


def weight_of(weight: Any, level: Tensor, step: int | None) -> Tensor | float:
    """The weight, a number or `(b,)`; a function is called with sigma, and with the step if a parameter is named so."""
    if callable(weight):
        weight = _call(weight, level, step)
    if not isinstance(weight, Tensor):
        check_weight("weight", weight)
        return float(weight)
    check_constant("weight", weight)
    if weight.ndim and weight.shape != level.shape:
        raise ValueError(
            f"ScoreLoss needs one weight per patch, shape {tuple(level.shape)}, but the function given as `weight` "
            f"returned shape {tuple(weight.shape)}."
        )
    weight = weight.detach().to(level)
    if not _all(weight.isfinite() & (weight >= 0), "weight"):
        raise ValueError(
            f"ScoreLoss needs weights that are finite and at least 0, but the function given as `weight` returned "
            f"{weight.min().item():g} to {weight.max().item():g}."
        )
    return weight.expand(level.shape)


def budget_of(budget: Any, step: int | None) -> float:
    """The budget at a step."""
    value: Any = budget(_need_step(step, "budget")) if callable(budget) else budget
    check_weight("budget", value)
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


def check_level(sigma: float, trained: tuple[float, float] | None) -> None:
    """Refuse a noise level that is not finite and positive, or outside the range that the prior was trained for."""
    if math.isnan(sigma) or math.isinf(sigma):
        raise ValueError(f"ScoreLoss needs a finite sigma, but one of those given is {sigma:g}.")
    if sigma <= 0:
        raise ValueError(f"ScoreLoss needs sigma > 0; the smallest given is {sigma:g}.")
    if trained is not None and not trained[0] * _LESS <= sigma <= trained[1] * _MORE:
        raise ValueError(
            f"ScoreLoss got sigma {sigma:g}, but the prior was trained for {trained[0]:g} to {trained[1]:g}. "
            "Keep the schedule within the range of the prior's card."
        )


def check_constant(name: str, value: Tensor) -> None:
    """Refuse a tensor without real values, or one that would be expected to learn."""
    if value.is_meta or value.is_complex():
        what = "on the meta device" if value.is_meta else "complex"
        raise ValueError(f"ScoreLoss needs {name} as real numbers, but got a tensor that is {what}.")
    if value.requires_grad:
        raise ValueError(f"ScoreLoss has no gradient to {name}, but got one that requires grad. Pass {name}.detach().")


def check_weight(name: str, value: Any) -> None:
    """Refuse a factor that is no number, negative or not finite."""
    if not 0 <= number_of(name, value) < math.inf:
        raise ValueError(f"ScoreLoss needs {name} >= 0, and finite, but got {float(value):g}.")


def number_of(name: str, value: Any) -> float:
    """Return an argument as a float; `name` is that of the argument in errors."""
    if isinstance(value, Tensor):
        check_constant(name, value)
    try:
        if not isinstance(value, str) and not (name == "sigma" and isinstance(value, bool)):
            return float(value)
    except (TypeError, RuntimeError, OverflowError, ValueError):
        pass  # the error below covers these too
    many = name == "sigma" and hasattr(value, "__len__") and not isinstance(value, str)
    cure = " One per patch is for the call: loss(patch, torch.as_tensor(sigma))." if many else ""
    shown = " ".join(f"{value!r:.80}".split())
    raise ValueError(f"ScoreLoss needs {name} as a number, but got a {type(value).__name__}: {shown}.{cure}")
