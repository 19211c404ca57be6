"""Helpers of the layouts: values of JSON and text descriptions, pairs of files, errors that name the file."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Float

from scorereg._io import read_json
from scorereg.files.text import as_number, read_rows

__all__ = [
    "MILLIMETRE", "Bad", "entries", "load_json", "number", "paired", "raise_it", "read_table",
    "scene_name", "text",
]  # fmt: skip

_LEAST, _MOST = 1e-37, 3e38  # of float32

MILLIMETRE = 0.001

Bad = Callable[[OSError | ValueError], object]
"""Is given the error of a frame that cannot be used; it raises it, or the frame is left out."""


def raise_it(error: OSError | ValueError) -> NoReturn:
    """Raise the error of a frame that cannot be used: what a layout does if no other `bad` is given."""
    raise error


def scene_name(folder: Path) -> str:
    """Return the name of a folder with its parent's, `"parent/folder"`."""
    folder = folder.resolve()
    return f"{folder.parent.name}/{folder.name}"


def load_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; an error names the file."""
    return read_json(path, "Restore the file or leave its folder out.")


def entries(meta: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    """Return the list `frames` of a description; an error if it is empty or something else."""
    frames = meta.get("frames")
    if not isinstance(frames, list) or not frames or not all(isinstance(f, dict) for f in frames):
        raise ValueError(f"{path} lists no frames. Restore the file or leave its folder out.")
    return frames


def number(value: Any, name: str, path: Path) -> float:
    """Return a value that must be a number > 0, also as float32."""
    found = as_number(value)
    if found is None or not _LEAST < found < _MOST:
        raise ValueError(f"{path}: `{name}` must be a number > 0, not {value!r:.60}. Add it to the file.")
    return found


def text(entry: dict[str, Any], name: str, path: Path) -> str:
    """Return a value that must be a non-empty string."""
    value = entry.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{path}: each frame needs `{name}`, but one has {value!r}. Correct the file.")
    return value


def read_table(path: Path, what: str) -> Float[np.ndarray, "r c"]:
    """Read a text file of numbers, the same count in each line, separated by spaces or commas; float64.

    Args:
        path: The file.
        what: What it must hold, for the error.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it holds something else.
    """
    rows = read_rows(path, f"It must hold {what}. Correct the file.")
    if not rows or not rows[0] or len({len(row) for row in rows}) > 1:
        raise ValueError(f"{path} must hold {what}. Correct the file.")
    return np.array(rows, np.float64)


def paired(folder: Path, colors: Mapping[str, Path], depths: Mapping[str, Path], bad: Bad = raise_it) -> list[str]:
    """Return the names with both a photo and a depth map; the others are bad frames."""
    for here, there, what in ((colors, depths, "depth map"), (depths, colors, "photo")):
        lonely = sorted(set(here) - set(there))
        for name in lonely:
            bad(
                ValueError(
                    f"{here[name]} has no {what} of the same name in {folder} ({len(lonely)} such). "
                    "Add the missing files or remove the lonely ones."
                )
            )
    return sorted(set(colors) & set(depths))
