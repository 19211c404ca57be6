"""Settings of a class of diffusers in a JSON file, checked against the class's own arguments."""

import inspect
import types
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

__all__ = ["describing", "known_settings"]

_LARGEST = 1e9
EXPECTED = {  # what every file of a class has had since the first version of diffusers, and shapes do not tell
    "UNet2DModel": (
        "norm_num_groups", "norm_eps", "act_fn", "attention_head_dim", "mid_block_scale_factor", "downsample_padding",
        "flip_sin_to_cos", "freq_shift", "time_embedding_type", "center_input_sample",
    )
}  # fmt: skip


@contextmanager
def describing(path: Path, name: str, remedy: str) -> Iterator[None]:
    """Turn whatever a wrong setting leads to inside a library into an error that names its file.

    Args:
        path: The file of the settings.
        name: What it should describe.
        remedy: What to do.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of the library to itself
            yield
    except Exception as error:
        line = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{path} describes no {name} ({line}). {remedy}") from None


def known_settings(
    kind: Any, settings: Mapping[str, Any], path: Path, *, ignored: Collection[str] = (), warned: bool = True
) -> dict[str, Any]:
    """Return the settings that a class has, after a check of their types.

    Args:
        kind: The class.
        settings: What its file says; names that begin with an underscore are the library's own.
        path: The file, for errors and the warning.
        ignored: Further names that are no settings of the class and change nothing.
        warned: Warn of names that the class does not know, as they may change what it computes.

    Raises:
        ValueError: If a value is of another type than the class's, or a number is not finite.
    """
    parameters = inspect.signature(kind.__init__).parameters
    others = sorted(k for k in settings if k not in parameters and not k.startswith("_") and k not in ignored)
    if others and warned:
        shown = ", ".join(others[:5]) + (", ..." if len(others) > 5 else "")
        warnings.warn(f"{path}: {shown} means nothing to diffusers' {kind.__name__} and is left out.", stacklevel=2)
    missing = [name for name in EXPECTED.get(kind.__name__, ()) if name not in settings]
    if missing:
        warnings.warn(f"{path} names no {', '.join(missing)}: diffusers' defaults are taken.", stacklevel=2)
    known = {name: value for name, value in settings.items() if name in parameters}
    for name, value in known.items():
        parameter = parameters[name]
        wanted = type(parameter.default) if parameter.annotation is inspect.Parameter.empty else parameter.annotation
        odd = name.endswith("_eps") and isinstance(value, int | float) and not 0 < value < 1
        if value is not None and value != parameter.default and (odd or not _fits(value, wanted)):
            raise ValueError(
                f"{path}: {name} cannot be {value!r:.100}. Copy or download the whole folder of the pipeline or model "
                "again."
            )
    return known


def _fits(value: Any, wanted: Any) -> bool:
    """Whether a value out of JSON is of an annotated type; a list may stand for a tuple, or a number per level."""
    origin, inside = get_origin(wanted), get_args(wanted)
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in inside if part is not type(None))
    if origin is Literal:
        return isinstance(value, str)
    if wanted is bool or isinstance(value, bool):
        return wanted is bool and isinstance(value, bool)
    if wanted in (int, float):
        numbers = value if isinstance(value, list) else [value]
        return all(_is_number(v) and (wanted is float or isinstance(v, int)) for v in numbers)
    if wanted is str:
        return isinstance(value, str)
    return isinstance(value, list | tuple) and all(isinstance(v, str | list) or _is_number(v) for v in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST
