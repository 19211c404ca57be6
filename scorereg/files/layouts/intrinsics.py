"""`intrinsics.json` beside folders of photos and depth maps: one camera for all, and the unit of depth."""

from pathlib import Path
from typing import Any

import numpy as np

from scorereg.files.layouts.parsing import MILLIMETRE, load_json, number
from scorereg.files.layouts.poses import lens_of_matrix, read_lens
from scorereg.files.text import number_in
from scorereg.files.view import Lens

__all__ = ["INTRINSICS", "MATRICES", "camera_of", "read_intrinsics"]

INTRINSICS = "intrinsics.json"
MATRICES = ("camera-intrinsics.txt", "intrinsics.txt", "intrinsic.txt", "cam_K.txt", "K.txt")
"""Files of a 3x3 camera matrix that are taken where there is no `intrinsics.json`."""

_TERMS = ("k1", "k2", "p1", "p2", "k3")
_BEYOND = ("k4", "k5", "k6")


def read_intrinsics(path: Path, *, unit: float = MILLIMETRE) -> tuple[Lens, float, bool]:
    """Read `fl_x`, `fl_y`, `cx`, `cy`, `w`, `h`, `k1`, `k2`, `p1`, `p2`, `k3` and `depth_unit_scale_factor`.

    As in `transforms.json`, pixels are counted from the first one's corner; only `fl_x` is needed. `fx` and `fy` are
    taken for `fl_x` and `fl_y`. Open3D's `intrinsic_matrix`, column by column, with `width` and `height`, is read too.

    Args:
        path: The file.
        unit: Metres per unit of depth, where the file does not say.

    Returns:
        The lens; metres per unit of depth; whether `fl_y` is negative, as ICL-NUIM writes it.

    Raises:
        ValueError: If `fl_x` is missing, or a value is not usable.
    """
    meta = load_json(path)
    unit = number(meta.get("depth_unit_scale_factor", unit), "depth_unit_scale_factor", path)
    if "intrinsic_matrix" in meta:
        return _of_open3d(meta, path), unit, False
    focal_x = number(meta.get("fl_x", meta.get("fx")), "fl_x", path)
    focal_y = meta.get("fl_y", meta.get("fy", focal_x))
    upwards = isinstance(focal_y, int | float) and not isinstance(focal_y, bool) and focal_y < 0
    focal = focal_x, number(-focal_y if upwards else focal_y, "fl_y", path)
    if any(meta.get(key) for key in _BEYOND):
        raise ValueError(f"{path}: the lens terms {', '.join(_BEYOND)} are not supported. Undistort the photos first.")
    size = _pair(meta, ("w", "h"), path)
    center = _pair(meta, ("cx", "cy"), path)
    terms = tuple(number_in(meta, key, str(path), 0.0) or 0.0 for key in _TERMS)
    model = "brown" if any(terms) else "pinhole"
    return Lens(focal, center, terms if any(terms) else (), model, size), unit, upwards


def camera_of(folder: Path, missing: str, photo: tuple[int, int] | None) -> tuple[Lens, float, bool]:
    """Read the camera of a folder: `intrinsics.json`, or else a 3x3 matrix in one of `MATRICES`.

    Args:
        folder: The folder.
        missing: End of the error if there is none: who needs it.
        photo: Width and height of a photo, if it can be read.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If the file is not usable.
    """
    path = folder / INTRINSICS
    if path.is_file():
        return read_intrinsics(path)
    matrix = next((folder / name for name in MATRICES if (folder / name).is_file()), path)
    return read_lens(matrix, missing, photo), MILLIMETRE, False


def _pair(meta: dict[str, Any], keys: tuple[str, str], path: Path) -> tuple[float, float] | None:
    values = [number_in(meta, key, str(path)) for key in keys]
    if values == [None, None]:
        return None
    if None in values:
        raise ValueError(f"{path}: `{keys[0]}` and `{keys[1]}` belong together, but only one is there. Add the other.")
    return number(values[0], keys[0], path), number(values[1], keys[1], path)


def _of_open3d(meta: dict[str, Any], path: Path) -> Lens:
    try:
        matrix = np.array(meta["intrinsic_matrix"], np.float64).reshape(3, 3).T
        size = number(meta["width"], "width", path), number(meta["height"], "height", path)
    except (KeyError, TypeError, ValueError):
        raise ValueError(
            f"{path}: `intrinsic_matrix` must be nine numbers, column by column, with `width` and `height`."
        ) from None
    return lens_of_matrix(matrix, path, size)
