"""What a value is, as text that is equal only for equal values: by it a resumed fit knows that it is the same fit."""

import dataclasses
import hashlib
import types
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["fingerprint", "prior_fingerprint"]


def prior_fingerprint(prior: Any) -> str:
    """Return a prior's name with a checksum of its card; of a prior without a card, its class and settings."""
    card = getattr(prior, "card", None)
    if card is None:
        return _instance(prior)
    return f"{card.name} ({_digest(card.to_json())})"


def fingerprint(value: Any) -> str:
    """Return a text that two values share only if they are the same setting.

    Numbers and strings are shown as they are. A function is known by its code, its constants, its defaults, and the
    values that it takes from around it, so that two lambdas of one name differ where they compute something else.
    Tensors, arrays and modules are known by a checksum; memory addresses never enter.

    Raises:
        ValueError: If a value holds itself, or others so deep that they cannot be compared.
    """
    try:
        return _text(value)
    except RecursionError:
        kind = type(value).__qualname__
        raise ValueError(
            f"a setting of the fit, a {kind}, holds itself, so it cannot be compared. Give it a private name (_x)."
        ) from None


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool | int | float | str):
        return str(value)
    if hasattr(value, "card"):
        return prior_fingerprint(value)
    if isinstance(value, Tensor):
        kind = "tensor" if value.dtype == torch.float32 else str(value.dtype).removeprefix("torch.")
        flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        return f"{kind}{tuple(value.shape)} ({_digest(flat.numpy().tobytes())})"
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return f"array {value.dtype}{value.shape} ({_digest(value.tobytes())})"
    if isinstance(value, list | tuple | set | frozenset):
        items = [_text(item) for item in value]
        return f"({', '.join(sorted(items) if isinstance(value, set | frozenset) else items)})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, partial):
        return f"partial{_text((value.func, value.args, value.keywords))}"
    if isinstance(value, types.MethodType):
        return f"{_text(value.__func__)} of {_text(value.__self__)}"
    if isinstance(value, types.FunctionType):
        return f"{value.__name__} ({_digest(repr(_code(value)))})"
    if isinstance(value, type | types.BuiltinFunctionType | types.MethodDescriptorType | types.ModuleType):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', value.__name__)}"
    return _instance(value)


def _instance(value: Any) -> str:
    """Class and public settings of an object; private attributes are state."""
    if dataclasses.is_dataclass(value):
        settings = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif isinstance(value, nn.Module):
        shapes = {name: tuple(p.shape) for name, p in value.named_parameters()}
        settings = {**_public(value), **dict(value.named_buffers()), "parameters": shapes}
    elif hasattr(value, "__dict__"):
        settings = _public(value)
    else:
        settings = {} if type(value).__repr__ is object.__repr__ else {"value": repr(value)}
    inside = ", ".join(f"{name}={_text(item)}" for name, item in settings.items())
    return f"{type(value).__qualname__}({inside})"


def _public(value: Any) -> dict[str, Any]:
    return {name: item for name, item in vars(value).items() if not name.startswith("_")}


def _code(function: types.FunctionType) -> tuple[Any, ...]:
    """Everything that decides what a function returns, but for what the functions that it calls do."""

    def constants(code: types.CodeType) -> tuple[Any, ...]:
        inner = (constants(c) if isinstance(c, types.CodeType) else c for c in code.co_consts)
        return (code.co_code.hex(), code.co_names, *map(repr, inner))

    outside = {name: function.__globals__.get(name) for name in function.__code__.co_names}
    numbers = {name: _text(v) for name, v in outside.items() if isinstance(v, int | float | str | tuple)}
    cells = [_text(value) for value in _closed(function)]
    defaults = _text((function.__defaults__, function.__kwdefaults__))
    return constants(function.__code__), numbers, cells, defaults


def _closed(function: types.FunctionType) -> list[Any]:
    """What a function takes from the functions around it; one that calls itself does not count."""
    found = []
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # not set yet
            found.append(None)
    return ["itself" if value is function else value for value in found]


def _digest(content: str | bytes) -> str:
    raw = content.encode() if isinstance(content, str) else content
    return hashlib.sha256(raw).hexdigest()[:8]
