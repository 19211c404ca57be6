"""Checks of a card's fields as they come out of JSON: their types, and ranges that no real prior exceeds."""

import math
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["checked_fields"]

_PREDICTIONS = ("", "edm", "epsilon", "sample", "denoised", "v_prediction", "velocity", "score")
_SMALLEST, _LARGEST = 1e-6, 1e6  # of sigma, ranges and metres


def checked_fields(entries: Mapping[str, Any], source: Any) -> dict[str, Any]:
    """Return a card's fields with tuples in place of lists, after a check of each.

    Args:
        entries: Fields of `PriorCard`, by name.
        source: File of the card, for errors.

    Raises:
        ValueError: If a field is of another type, or out of its range.
    """
    fields = {}
    for name, value in entries.items():
        check, what = _CHECKS[name]
        try:
            fields[name] = check(value)
        except (KeyError, TypeError, ValueError, OverflowError):
            shown = repr(value)
            shown = shown if len(shown) <= 100 else f"{shown[:100]}..."
            raise ValueError(
                f"{source}: `{name}` cannot be {shown}; it is {what}. Correct it, or restore the card that came with "
                "the prior."
            ) from None
    return fields


def _refuse() -> Any:
    raise ValueError


def _number(value: Any, low: float | int = -_LARGEST, high: float | int = _LARGEST) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:  # refuses NaN too
        raise ValueError
    return float(value)


def _whole(value: Any, low: int, high: int) -> int:
    return int(_number(value, low, high)) if isinstance(value, int) else _refuse()


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) and value else _refuse()


def _text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else _refuse()


def _line(value: Any) -> str:
    return text if (text := _text(value)).isprintable() else _refuse()


def _name(value: Any) -> str:
    good = isinstance(value, str) and value.strip() == value != "" and value.isprintable() and len(value) <= 200
    return value if good else _refuse()


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(value) if isinstance(value, list) and all(isinstance(v, str) for v in value) else _refuse()


def _lines(value: Any) -> tuple[str, ...]:
    return tuple(_line(text) for text in _texts(value))


def _channels(value: Any) -> tuple[str, ...]:
    names = tuple(_name(name) for name in _list(value))
    return names if len(set(names)) == len(names) else _refuse()


def _size(value: Any) -> tuple[int, ...]:
    sides = tuple(_whole(side, 1, 2**16) for side in (_list(value) if value != [] else ()))
    return sides if len(sides) <= 3 else _refuse()


def _positive(value: Any) -> float:
    return _number(value, _SMALLEST)


def _range(value: Any) -> tuple[float, float]:
    low, high = (_number(end) for end in _list(value))
    return (low, high) if high - low >= _SMALLEST else _refuse()


def _focal(value: Any) -> tuple[float, float] | None:
    if value is None:
        return None
    low, high = (_number(end, 1e-3, 1e7) for end in _list(value))
    return (low, high) if low <= high else _refuse()


def _network(value: Any) -> dict[str, Any]:
    _whole(value.get("patchify", 1), 1, 64) if isinstance(value, dict) else _refuse()
    return _settings(value) if isinstance(value.get("conditional", False), bool) else _refuse()


def _settings(value: Any) -> dict[str, Any]:
    """A dictionary without NaN and infinity at any depth."""
    return dict(value) if isinstance(value, dict) and _finite(value) else _refuse()


def _finite(value: Any) -> bool:
    if isinstance(value, dict | list):
        return all(_finite(part) for part in (value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or math.isfinite(value)


def _denoising(value: Any) -> dict[str, list[dict[str, Any]]]:
    """Rows of numbers by data set; an error of a channel that was never measured is NaN."""
    for rows in (value if isinstance(value, dict) else _refuse()).values():
        for row in rows if isinstance(rows, list) else _refuse():
            _positive(row["sigma"])
            if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in row.values()):
                _refuse()
    return dict(value)


def _quantiles(value: Any) -> dict[str, Any]:
    """Rising quantiles for each sigma and level; empty, if not measured."""
    if value == {}:
        return {}
    sigmas = [_positive(v) for v in _list(value["sigma"])]
    levels = [_number(v, _SMALLEST, 1 - _SMALLEST) for v in _list(value["levels"])]
    values = [[_number(v, 0.0) for v in _list(row)] for row in _list(value["values"])]
    good = all(rising == sorted(rising) for rising in (sigmas, levels, *values))
    good = good and [len(row) for row in values] == [len(levels)] * len(sigmas)
    good = good and isinstance(value.get("data", ""), str)
    return {**value, "sigma": sigmas, "levels": levels, "values": values} if good else _refuse()


def _one_of(*choices: Any) -> Callable[[Any], Any]:
    return lambda value: value if any(value == choice for choice in choices) else _refuse()


_SIGMA = f"a noise level, {_SMALLEST:g} to {_LARGEST:g}"
_CHECKS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "name": (_name, "a short text"),
    "channels": (_channels, "a list of names, each once"),
    "size": (_size, "a list of one to three sides in pixels, or an empty one"),
    "sigma_min": (_positive, _SIGMA),
    "sigma_max": (_positive, _SIGMA),
    "range": (_range, f"the smallest and largest value, within {-_LARGEST:g} to {_LARGEST:g}"),
    "depth": (_one_of("planar", None), '"planar", or null without depth'),
    "d_min": (lambda value: value if value is None else _positive(value), "a depth in metres, > 0, or null"),
    "focal": (_focal, "the smallest and largest focal length in pixels, > 0, or null"),
    "architecture": (_text, "a text"),
    "prediction": (_one_of(*_PREDICTIONS), f"one of {', '.join(filter(None, _PREDICTIONS))}, or empty"),
    "network": (_network, "an object, in which `patchify` is a whole number and `conditional` true or false"),
    "data": (_text, "a text"),
    "licence": (_line, "a text of one line"),
    "credits": (_lines, "a list of texts of one line each"),
    "steps": (lambda value: _whole(value, 0, 10**12), "a whole number, 0 or more"),
    "training": (_settings, "an object of finite numbers and texts"),
    "held_out": (_texts, "a list of texts"),
    "denoising": (_denoising, "an object with a list of rows of numbers for each data set"),
    "residual_quantiles": (_quantiles, "an object with rising `sigma`, `levels` below 1 and `values`, or empty"),
    "assumed": (_texts, "a list of texts"),
    "weights_sha256": (_text, "a text"),
}
