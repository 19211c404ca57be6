"""Calls with arguments that a function does not have, or without those that it needs: an error with the right ones."""

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

__all__ = ["explained"]

Function = TypeVar("Function", bound=Callable[..., Any])

_SETTINGS = "**scorereg.priors.scheduler_settings(scheduler)"
_TABLE = "betas=scorereg.priors.linear_betas() or cosine_betas()"
_MEANT = {  # what other programs call an argument, and how it is given here
    **dict.fromkeys(("sigma_min", "sigma_max", "sigma"), "sigma_range=(lowest, highest)"),
    **dict.fromkeys(("prediction_type", "objective", "target", "predicts", "parameterization"), "prediction='epsilon'"),
    **dict.fromkeys(("scheduler", "noise_scheduler", "diffusion"), _SETTINGS),
    **dict.fromkeys(("timesteps", "num_timesteps", "num_train_timesteps", "steps", "T"), _TABLE),
    **dict.fromkeys(("beta_schedule", "schedule", "noise_schedule", "beta_start", "beta_end", "beta"), _TABLE),
    **dict.fromkeys(("alphas", "alpha_bar", "alphas_bar", "abar", "alpha"), "alphas_cumprod="),
    **dict.fromkeys(("image_size", "sample_size", "resolution", "shape", "patch_size"), "size=(height, width)"),
    **dict.fromkeys(("range", "value_range", "normalize", "low", "high"), "data_range=(lowest, highest)"),
    **dict.fromkeys(("in_channels", "names", "channel_names", "num_channels"), "channels=('r', 'g', 'b')"),
    **dict.fromkeys(("class_labels", "labels", "y", "label"), "wrap(lambda z, t: network(z, t, class_labels=...))"),
    **dict.fromkeys(("prompt", "text", "encoder_hidden_states"), "load_prior(folder, prompt='...')"),
    **dict.fromkeys(("pad", "padding", "divisor", "stride"), "multiple=8"),
    **dict.fromkeys(("clamp", "clip"), "outside='clamp'"),
}


def explained(function: Function) -> Function:
    """Make a function say in one line which argument is wrong, and which one is meant.

    Raises:
        TypeError: By the function that is returned, if it is called with arguments that it does not have.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def called(*args: Any, **settings: Any) -> Any:
        try:
            signature.bind(*args, **settings)
        except TypeError as error:
            raise TypeError(_text(function.__name__, signature.parameters, args, settings, error)) from None
        return function(*args, **settings)

    return called  # pyright: ignore[reportReturnType]  # it takes and returns what the function does


def _text(name: str, known: Mapping[str, Any], args: tuple[Any, ...], settings: Mapping[str, Any], why: object) -> str:
    for given in settings:
        if given in known:
            continue
        if given in _MEANT and _MEANT[given].partition("=")[0] not in (*settings, given):
            return f"{name} has no argument {given}. Give {_MEANT[given]}."
        near = difflib.get_close_matches(given, known, 1)
        cure = f"Did you mean {near[0]}?" if near else f"It has {', '.join(known)}."
        return f"{name} has no argument {given}. {cure}"
    places = [k for k, p in known.items() if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    if len(args) > len(places):
        return f"{name} takes {' and '.join(places)} by place, and the rest by name, but got {len(args)} by place."
    return f"{name}: {why}."
