"""One frame of `transforms.json` as a `View`: its files, lens, pose, mask and depth unit."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from scorereg.files.depth import DEPTH_SUFFIXES, depth_size
from scorereg.files.images import IMAGE_SUFFIXES, read_head
from scorereg.files.layouts.lens_keys import FOCAL, lens_among
from scorereg.files.layouts.parsing import MILLIMETRE
from scorereg.files.names import Names, is_here, shown
from scorereg.files.text import number_in
from scorereg.files.view import View

__all__ = ["UNITS", "file_name", "matrix_of", "view_of"]

UNITS = ("depth_unit_scale_factor", "integer_depth_scale")
"""Keys of metres per unit of depth."""

_NEARLY = 1e-6  # that a 0 or 1 of a matrix's last row may be off
_VIDEOS = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm")
_Entry = Mapping[str, Any]
_Marks = Literal["kept", "left out"]


def view_of(folder: Path, path: Path, table: _Entry, entry: _Entry, names: Names) -> View:
    """Return the view of a frame. Files that are missing are named all the same.

    Args:
        folder: Folder of the file.
        path: The file.
        table: Its entries, which hold for all frames that have no others.
        entry: Entries of the frame.
        names: Finds the files of names.

    Raises:
        ValueError: If it names neither photo nor depth map, or an entry cannot be.
    """
    written = file_name(entry, ("file_path",), str(path))
    depth_name = file_name(entry, ("depth_file_path", "depth_path"), f"{path}, frame {written}")
    if not written and not depth_name:
        raise ValueError(f"{path}: a frame has no `file_path`; name its image.")
    color, times = names.find(written, IMAGE_SUFFIXES) if written else (None, 1)
    if written and color and (written.lower().endswith(_VIDEOS) or not is_here(color)):
        _check_is_photo(written, path)
    depth = names.find(depth_name, DEPTH_SUFFIXES, unlike=color)[0] if depth_name else None
    file = color or depth
    assert file is not None, "one of the two is named"
    name = f"{path}, frame {shown(file, folder)}"
    levels = entry, table
    unit = _unit(levels, name)
    mask, marks = _mask({**table, **entry}, color, names, name)
    return View(
        color, depth if unit else None, mask,
        maps=_maps(entry, names, color, name),
        lens=lens_among(levels, lambda: read_head(color).upright if color else depth_size(file), times, name),
        pose=_pose(entry, name), unit=unit or MILLIMETRE, bounds=_bounds(levels, name), mask_marks=marks,
        shared=not any(key in entry for key in FOCAL),
    )  # fmt: skip


def file_name(entry: Mapping[str, Any], keys: Sequence[str], where: str) -> str | None:
    """Name of a file that an entry may leave out."""
    for key in keys:
        value = entry.get(key)
        if value is not None and not isinstance(value, str):
            raise ValueError(f"{where}: `{key}` must be the name of a file, but is {value!r:.40}.")
        if value:
            return value
    return None


def _check_is_photo(written: str, path: Path) -> None:
    """Raise if a name is a video's, or a web address of which there is no copy."""
    if re.match(r"(https?|ftp|s3|gs)://", written, re.IGNORECASE):
        raise ValueError(f"{path}: {written} is a web address: download its photos, and name the files in `file_path`.")
    if written.lower().endswith(_VIDEOS):
        raise ValueError(
            f"{path}: {written} is a video: save the pictures of its frames, by ffmpeg -i VIDEO -r 2 photos/%05d.png "
            "for one, and name those in `file_path`."
        )


def _mask(
    entry: _Entry, color: Path | None, names: Names, name: str
) -> tuple[Path | None, Literal["kept", "left out"]]:
    written = file_name(entry, ("mask_path", "mask_file_path"), name)
    if written:
        return names.find(written, IMAGE_SUFFIXES, unlike=color)[0], "kept"
    moving = color.with_name(f"dynamic_mask_{color.stem}.png") if color else None
    return (moving, "left out") if moving and moving.is_file() else (None, "kept")


def _maps(entry: _Entry, names: Names, color: Path | None, name: str) -> tuple[tuple[str, Path], ...]:
    end = "_file_path"
    keys = sorted(key for key in entry if key.endswith(end) and key not in ("depth_file_path", "mask_file_path"))
    written = {key.removesuffix(end): file_name(entry, (key,), name) for key in keys}
    return tuple((key, names.find(value, unlike=color)[0]) for key, value in written.items() if value)


def _unit(levels: Sequence[_Entry], name: str) -> float | None:
    """Metres per unit of depth; None if the file switches depth off."""
    scales = {
        key: number_in(entry, key, name)
        for entry in reversed(levels) for key in UNITS
        if entry.get(key) is not None
    }  # fmt: skip
    if any(entry.get("enable_depth_loading") is False for entry in levels) or scales == {"integer_depth_scale": -1.0}:
        return None
    values = {value for value in scales.values() if value is not None}
    if len(values) > 1:
        raise ValueError(f"{name}: depth_unit_scale_factor and integer_depth_scale differ; leave one out.")
    unit = values.pop() if values else MILLIMETRE
    if unit <= 0:
        raise ValueError(f"{name}: {next(iter(scales))} must be a number above 0, but is {unit:g}.")
    return unit


def _pose(entry: _Entry, name: str) -> tuple[float, ...] | None:
    value = entry.get("transform_matrix")
    if value is None:
        return None
    matrix = matrix_of(value, "transform_matrix", name)
    return tuple(-x if i % 4 in (1, 2) else x for i, x in enumerate(matrix))


def matrix_of(value: Any, key: str, name: str) -> tuple[float, ...]:
    """The first three rows of a matrix of three or four, or of its numbers row by row; NaN is a number."""
    what = f"`{key}`" if key else "it"
    rows = value if isinstance(value, list) else None
    flat = rows is not None and len(rows) in (12, 16) and not any(isinstance(row, list) for row in rows)
    rows = [rows[i : i + 4] for i in range(0, len(rows), 4)] if flat and rows else rows
    if rows is None or not all(isinstance(row, list) and all(map(_is_number, row)) for row in rows):
        raise ValueError(f"{name}: {what} is not a table of numbers; write 3 or 4 rows of 4.")
    if len(rows) not in (3, 4) or any(len(row) != 4 for row in rows):
        shape = f"({len(rows)}, {len(rows[0]) if rows else 0})"
        raise ValueError(f"{name}: {what} has shape {shape}; write 3 or 4 rows of 4 numbers.")
    last = [float(x) for x in rows[3]] if len(rows) == 4 else [0.0, 0.0, 0.0, 1.0]
    if not all(abs(x - y) <= _NEARLY for x, y in zip(last, (0, 0, 0, 1), strict=True)):
        cure = "is the matrix transposed?" if any(last[:3]) else "remove this frame, if its pose was lost."
        raise ValueError(f"{name}: the last row of {what} must be 0 0 0 1, but is {last}; {cure}")
    return tuple(float(x) for row in rows[:3] for x in row)


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1e300)


def _bounds(levels: Sequence[_Entry], name: str) -> tuple[float, float] | None:
    near, far = (
        next((number_in(entry, key, name) for entry in levels if entry.get(key) is not None), None)
        for key in ("near", "far")
    )
    if near is None and far is None:
        return None
    if near is None or far is None:
        raise ValueError(f"{name}: `near` and `far` must both be numbers, in the unit of the poses.")
    if not 0 < near < far < math.inf:
        raise ValueError(f"{name}: near {near:g} and far {far:g} must be 0 < near < far.")
    return near, far
