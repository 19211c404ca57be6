"""Arguments of `load_prior` that a kind of source takes, and an error for the others and for values that cannot be."""

import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

__all__ = ["at_home", "check_depth", "check_values", "named_path", "only"]

_HUB = re.compile(
    r"(?:(?:https?://?)?(?:www\.)?(?:huggingface\.co|hf\.co)/|hf://?)"
    r"(?:models/)?(?!datasets/|spaces/)([\w.-]+/[\w.-]+?)(?:\.git)?(?:[/?#@].*)?$",
    re.I,
)
_ADDRESS = re.compile(r"(file|https?|ftp|s3|gs|hf|git\+https|ssh):(?=/)(?://)?(.*)", re.IGNORECASE | re.DOTALL)


def only(what: str, given: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return the arguments of some names that were given, those that are not None.

    Args:
        what: The source, for the error.
        given: All arguments by name.
        names: Those that the source takes.

    Raises:
        ValueError: If another one was given.
    """
    said = {name: value for name, value in given.items() if value is not None}
    for name, value in said.items():
        if name not in names:
            shown = "..." if name == "betas" else repr(value)
            raise ValueError(f"{name}={shown} means nothing for {what}. Leave it out.")
    return said


def check_values(channels: Any, size: Any, d_min: Any, autocast: Any = False) -> None:
    """Check the arguments that go to the card, and `autocast`.

    Raises:
        ValueError: If channels are no names, or one is there twice; a size is no positive integers; d_min not > 0;
            autocast is neither true nor false.
    """
    named = channels is None or (not isinstance(channels, str) and _all(channels, lambda name: isinstance(name, str)))
    if not named or (channels and len(set(channels)) < len(channels)):
        raise ValueError(f"channels must be names, each once, like ('r', 'g', 'b'), but got {channels!r}.")
    if size is not None and not _all(size, lambda side: type(side) is int and side > 0):
        raise ValueError(f"size must be the sides of a patch in pixels, like (48, 48), but got {size!r}.")
    if d_min is not None and not (isinstance(d_min, int | float) and 0 < d_min < math.inf):
        raise ValueError(f"d_min is a depth in metres and must be > 0, but got {d_min!r}.")
    if not isinstance(autocast, bool):
        raise ValueError(f"autocast is True or False (bfloat16 in the network, or not), but got {autocast!r}.")


def check_depth(d_min: float | int | None, channels: tuple[str, ...]) -> None:
    """Check that a depth of disparity 1 is given to a prior with disparity only.

    Raises:
        ValueError: If there is no such channel.
    """
    if d_min is not None and "disparity" not in channels:
        raise ValueError(
            f"d_min={d_min!r} is the depth at which disparity is 1, but the channels are {', '.join(channels)}. Leave "
            "it out, or name the channel `disparity` by channels=(...)."
        )


def named_path(source: str | os.PathLike[str]) -> str:
    """Return a path or name as text, with the home folder in place of `~`, after a check that it is no address.

    Args:
        source: What a user gave.

    Raises:
        ValueError: If it is the address of a page or file, with what to give in its place; or a path of bytes.
    """
    name = os.fspath(source)
    if isinstance(name, bytes):
        raise ValueError(f"a path is given as text, but this one is of bytes, {name!r:.100}. Give os.fsdecode(path).")
    if (found := _HUB.match(name)) is not None and not Path(name).exists():  # or a copy of the hub's folders
        raise ValueError(f"{name} is an address of the hub. Give the model's name: load_prior({found[1]!r}).")
    if (found := _ADDRESS.match(name)) is not None:
        if found[1].lower() == "file":
            path = unquote(found[2].removeprefix("localhost"))
            raise ValueError(f"{name} is an address. Give the path: load_prior({path!r}).")
        raise ValueError(f"{name} is an address, which is not fetched. Download it and give the file or folder.")
    return str(at_home(name)) if name.startswith("~") else name


def at_home(path: str | os.PathLike[str]) -> Path:
    """Return a path with the home folder in place of a `~` at its start, if there is one of that user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def _all(values: Any, good: Callable[[Any], bool]) -> bool:
    return isinstance(values, tuple | list) and all(good(value) for value in values)
