"""The options that say of a prior what its files do not say: the same six of every command that loads one."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from scorereg.cli import options as opt

__all__ = ["with_facts"]

_OPTIONS = {
    "channels": opt.PriorChannels,
    "prediction": opt.Prediction,
    "data_range": opt.DataRange,
    "groups": opt.Groups,
    "version": opt.FileVersion,
    "variant": opt.Variant,
}


def with_facts(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command: its parameter `facts` becomes six options, and is given those that were set.

    Args:
        command: A function with `facts: dict[str, Any]`, arguments of `load_prior` by name, as keyword.
    """

    @functools.wraps(command)
    def inner(**given: Any) -> None:
        facts = {name: given.pop(name, None) for name in _OPTIONS}
        if facts["channels"] is not None:
            facts["channels"] = tuple(name.strip() for name in facts["channels"].split(",") if name.strip())
        command(facts={name: value for name, value in facts.items() if value is not None}, **given)

    kind = inspect.Parameter.KEYWORD_ONLY
    told = [value for name, value in inspect.signature(command).parameters.items() if name != "facts"]
    added = [inspect.Parameter(name, kind, default=None, annotation=what) for name, what in _OPTIONS.items()]
    parameters = [value.replace(kind=kind) for value in told] + added
    inner.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportAttributeAccessIssue]  # typer reads it
    inner.__annotations__ = {value.name: value.annotation for value in parameters} | {"return": None}
    return inner
