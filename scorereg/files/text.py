"""Text files that others have written: lines, tables of numbers, and numbers among the entries of a JSON object."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scorereg._io import read_text

__all__ = ["as_number", "number_in", "read_lines", "read_rows"]

_REMEDY = "Restore the file."
_LARGEST = 3.4e38  # of float32


def read_lines(path: Path, remedy: str = _REMEDY) -> list[str]:
    """Read the lines of a text file that are neither empty nor comments (`#`), without the space around them.

    The file is in UTF-8, UTF-16 or UTF-32, with any line ends; bytes that are none of these are taken for Latin-1.

    Args:
        path: The file.
        remedy: Sentence at the end of an error: what to do.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is too large, or broken UTF-16.
    """
    lines = (line.strip() for line in read_text(path, remedy, latin=True).split("\n"))
    return [line for line in lines if line and not line.startswith("#")]


def read_rows(path: Path, remedy: str = _REMEDY) -> list[list[float]]:
    """Read a table of numbers, separated by spaces, commas or semicolons, one row a line; NaN and infinity are numbers.

    Args:
        path: The file.
        remedy: Sentence at the end of an error: what to do.

    Raises:
        OSError: If it cannot be read.
        ValueError: If a word is no number.
    """
    rows = []
    for line in read_lines(path, remedy):
        words = line.replace(",", " ").replace(";", " ").split()
        try:
            rows.append([float(word) for word in words])
        except ValueError:
            raise ValueError(f"{path}: `{line[:60]}` should be numbers. {remedy}") from None
    return rows


def number_in(entry: Mapping[str, Any], key: str, name: str, default: float | None = None) -> float | None:
    """Return a finite number of a JSON object.

    Args:
        entry: The object.
        key: Key of the number.
        name: What the entry is, for the error: its file, and where in it.
        default: Returned if the key is not there or its value is null.

    Raises:
        ValueError: If the value is no number (a text or a truth value is none), not finite, or beyond float32.
    """
    value = entry.get(key)
    if value is None:
        return default
    if (number := as_number(value)) is None:
        raise ValueError(f"{name}: `{key}` must be a finite number, but is {value!r:.40}. Correct it.")
    return number


def as_number(value: Any) -> float | None:
    """Return a JSON value as a number; None if it is none (as text and truth values), not finite or beyond float32."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_LARGEST < value < _LARGEST:
        return None
    return float(value)
