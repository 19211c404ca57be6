"""Modules that a callable has bound: the module itself, or those in its closure, arguments, object and globals."""

import functools
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from scorereg.priors.adapters.unwrapped import check_loaded

__all__ = ["bound_modules", "check_bound_loaded"]

_DEPTH = 4  # of functions in functions, lists in closures and so on


def bound_modules(network: Any) -> list[nn.Module]:
    """Return the modules that a call of an object would reach, each once, as far as Python can tell.

    Args:
        network: A module, function, lambda, method, `functools.partial`, or an object that can be called.

    Example:
        >>> import torch
        >>> from scorereg.priors.adapters.bound import bound_modules
        >>> layer = torch.nn.Linear(1, 1)
        >>> bound_modules(lambda z, t: layer(z)) == [layer]
        True
    """
    return list(_modules(network, _DEPTH, set()))


def check_bound_loaded(network: Any) -> None:
    """Check that the modules which a callable has bound have numbers, which they lack on torch's device `meta`.

    Raises:
        ValueError: If a parameter or buffer has none; those of a module with hooks of accelerate may come at its call.
    """
    for module in bound_modules(network):
        if not any(hasattr(part, "_hf_hook") for part in module.modules()):
            check_loaded(module)


def _modules(value: Any, depth: int, seen: set[int]) -> Iterator[nn.Module]:
    if id(value) in seen or depth < 0:
        return
    seen.add(id(value))
    if isinstance(value, nn.Module):
        yield value
        return
    for part in _parts(value):
        yield from _modules(part, depth - 1, seen)


def _parts(value: Any) -> list[Any]:
    """What an object that is no module holds, without running any of its code."""
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if inspect.ismethod(value):
        return [value.__self__, value.__func__]
    if inspect.isfunction(value):
        held = [cell.cell_contents for cell in value.__closure__ or () if _filled(cell)]
        held += [value.__globals__[name] for name in value.__code__.co_names if name in value.__globals__]
        return [*held, *(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
    if isinstance(value, list | tuple):
        return list(value[:100])
    if isinstance(value, Mapping):
        return list(value.values())[:100]
    own = isinstance(getattr(value, "__dict__", None), dict) and not inspect.ismodule(value)
    return [] if isinstance(value, type) or not own else list(vars(value).values())


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # of a name that is not given yet
        return False
