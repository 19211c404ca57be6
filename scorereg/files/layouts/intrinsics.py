"""`intrinsics.json` beside folders of photos and depth maps: one camera for all, and the unit of depth."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from scorereg.files.layouts.lens_keys import lens_among
from scorereg.files.layouts.lenses import lens_of_matrix, read_lens, sized_for
from scorereg.files.layouts.parsing import MILLIMETRE, load_json, number, read_rows
from scorereg.files.layouts.unknown_keys import unread
from scorereg.files.view import Lens

__all__ = ["INTRINSICS", "MATRICES", "camera_of", "read_intrinsics"]

INTRINSICS = "intrinsics.json"
MATRICES = ("camera-intrinsics.txt", "intrinsics.txt", "intrinsic.txt", "cam_K.txt", "K.txt")
"""Files of a 3x3 camera matrix that are taken where there is no `intrinsics.json`."""

_NSVF, _NSVF_COUNTS = "intrinsics.txt", [4, 3, 1, 1, 2]
_UNIT = "depth_unit_scale_factor"
_OTHER_NAMES = {"fx": "fl_x", "fy": "fl_y", "ppx": "cx", "ppy": "cy", "width": "w", "height": "h"}
_Size = tuple[float, float] | None


def read_intrinsics(path: Path, photo: _Size, *, unit: float = MILLIMETRE) -> tuple[Lens, float, bool]:
    """Read the lens keys of `transforms.json` (`lens_among`) and `depth_unit_scale_factor`.

    Pixels are counted from the first one's corner; only `fl_x` is needed. Taken for those are `fx`, `fy`, `ppx`,
    `ppy`, `width` and `height`. Keys that are not read and would change the meaning are warned of.
    Open3D's `intrinsic_matrix`, column by column, with `width` and `height`, is read too.

    Args:
        path: The file.
        photo: Width and height of a photo, if one can be read.
        unit: Metres per unit of depth, where the file does not say.

    Returns:
        The lens; metres per unit of depth; whether `fl_y` is negative, as ICL-NUIM writes it.

    Raises:
        ValueError: If `fl_x` is missing, or a value is not usable.
    """
    meta = load_json(path)
    unit = number(meta.get(_UNIT, unit), _UNIT, path)
    if "intrinsic_matrix" in meta:
        return _of_open3d(meta, path), unit, False
    meta = _plain(meta)
    for line in unread(meta, (), path):
        warnings.warn(f"{line} The unit of depth is `{_UNIT}`, in metres.", stacklevel=3)
    focal_y, upwards = meta.get("fl_y"), False
    if isinstance(focal_y, int | float) and focal_y < 0:
        meta, upwards = {**meta, "fl_y": -focal_y}, True
    lens = lens_among([meta], lambda: _known(photo, path), 1, str(path))
    if lens is None:
        number(None, "fl_x", path)
    assert lens is not None
    if lens.size is None and lens.center is not None and photo is not None:
        sized_for(lens.center, photo, (), path)  # raises
    return lens, unit, upwards


def camera_of(folder: Path, missing: str, photo: _Size, *, unit: float = MILLIMETRE) -> tuple[Lens, float]:
    """Read the camera of a folder: `intrinsics.json`, or else a 3x3 matrix in one of `MATRICES`.

    Args:
        folder: The folder.
        missing: End of the error if there is none: who needs it.
        photo: Width and height of a photo, if one can be read.
        unit: Metres per unit of depth, where the file does not say.

    Returns:
        The lens; metres per unit of depth.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If the file is not usable.
    """
    path = folder / INTRINSICS
    if path.is_file():
        lens, unit, upwards = read_intrinsics(path, photo, unit=unit)
        if upwards:
            raise ValueError(f"{path}: `fl_y` must be a number > 0, but is {-lens.focal[1]:g}. Leave out its sign.")
        return lens, unit
    matrix = next((folder / name for name in MATRICES if (folder / name).is_file()), path)
    if matrix.name == _NSVF and (lens := _of_nsvf(matrix)):
        return lens, unit
    return read_lens(matrix, missing, photo), unit


def _of_nsvf(path: Path) -> Lens | None:
    """NSVF's own five lines: `f cx cy 0`, the grid's middle, near, scale, `height width`; None of another file."""
    rows = read_rows(path, "It must hold a camera matrix. Correct the file.")
    if [len(row) for row in rows] != _NSVF_COUNTS:
        return None
    (focal, across, down, _), (height, width) = rows[0], rows[4]
    return lens_of_matrix(np.array([[focal, 0, across], [0, focal, down], [0, 0, 1]]), path, (width, height))


def _plain(meta: dict[str, Any]) -> dict[str, Any]:
    """The keys with other programs' names, `fx` for `fl_x` and so on, as those of transforms.json."""
    return {long: meta[short] for short, long in _OTHER_NAMES.items() if short in meta} | meta


def _known(photo: _Size, path: Path) -> tuple[int, int]:
    if photo is None:
        raise ValueError(f"{path}: no photo can be read to tell its size. Write `w` and `h`.")
    return int(photo[0]), int(photo[1])


def _of_open3d(meta: dict[str, Any], path: Path) -> Lens:
    try:
        matrix = np.array(meta["intrinsic_matrix"], np.float64).reshape(3, 3).T
        size = number(meta["width"], "width", path), number(meta["height"], "height", path)
    except (KeyError, TypeError, ValueError):
        raise ValueError(
            f"{path}: `intrinsic_matrix` must be nine numbers, column by column, with `width` and `height`."
        ) from None
    return lens_of_matrix(matrix, path, size)
