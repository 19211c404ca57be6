"""MVSNet's cameras (Yao et al. 2018): `cams/00000000_cam.txt` beside `images/00000000.jpg`.

    extrinsic             4x4, camera from world
    intrinsic             3x3
    425.0 2.5 192 902.5   least depth, step between planes, and perhaps their number and the greatest depth

BlendedMVS has its photos in `blended_images/`. Without a number of planes there are 192, as in MVSNet.
"""

from pathlib import Path

import numpy as np

from scorereg.files.images import read_head
from scorereg.files.layouts.folders import COLOR_FOLDERS, by_stem, named, natural, size_of_first
from scorereg.files.layouts.lenses import lens_of_matrix, scaled_words, sized_for
from scorereg.files.layouts.parsing import Bad, raise_it
from scorereg.files.layouts.poses import inverse
from scorereg.files.text import read_lines
from scorereg.files.view import Listing, View

__all__ = ["is_mvsnet", "read_mvsnet"]

_FOLDERS = ("cams", "cams_1", "cameras")
_PHOTOS = ("blended_images", *COLOR_FOLDERS)
_PLANES = 192
_FULL = (1600.0, 1200.0)  # of DTU
_QUARTER = 4  # photos are this many times as large as MVSNet's cameras for training
_Facts = tuple[np.ndarray, tuple[float, ...], tuple[float, float] | None]  # camera matrix, pose, bounds


def is_mvsnet(folder: Path) -> bool:
    """Whether a folder has files of MVSNet's cameras."""
    place = named(folder, _FOLDERS)
    return place is not None and any(place.glob("*_cam.txt"))


def read_mvsnet(folder: Path, bad: Bad = raise_it) -> Listing:
    """Read MVSNet's cameras and the photos of the same names.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a file does not hold what it should.
    """
    place, photos = named(folder, _FOLDERS), named(folder, _PHOTOS)
    cameras = {p.name.removesuffix("_cam.txt"): p for p in sorted(place.glob("*_cam.txt"))} if place else {}
    colors = {name: path for name, path in by_stem(photos or folder).items() if not name.endswith("_masked")}
    for name in sorted(set(colors) - set(cameras)):
        bad(FileNotFoundError(f"{colors[name]} has no camera {name}_cam.txt in {place}. Restore it or drop the photo."))
    names = sorted(set(colors) & set(cameras), key=natural)
    if not names:
        raise FileNotFoundError(f"{place}: no photo in {folder / 'images'} has the name of a camera. Put them there.")
    facts = {name: _read(cameras[name]) for name in names}
    stored = size_of_first(colors[name] for name in names) or read_head(colors[names[0]]).upright  # which raises
    center = np.median([matrix[:2, 2] for matrix, _, _ in facts.values()], 0).tolist()
    small = stored[0] / _QUARTER, stored[1] / _QUARTER
    size = sized_for((center[0], center[1]), stored, [_FULL, small], cameras[names[0]])
    said = scaled_words(place or folder, size, stored)
    views = tuple(
        View(colors[name], lens=lens_of_matrix(matrix, cameras[name], size), pose=pose, bounds=bounds)
        for name, (matrix, pose, bounds) in facts.items()
    )
    return Listing(place or folder, views, said=said)


def _read(path: Path) -> _Facts:
    """The camera matrix, the pose, and near and far where the file has them."""
    words = " ".join(read_lines(path)).split()
    try:
        start, middle = words.index("extrinsic") + 1, words.index("intrinsic") + 1
        extrinsic = np.array([float(word) for word in words[start : start + 16]]).reshape(4, 4)
        matrix = np.array([float(word) for word in words[middle : middle + 9]]).reshape(3, 3)
        last = [float(word) for word in words[middle + 9 :]]
    except ValueError:
        raise ValueError(
            f"{path} must hold `extrinsic` with 16 numbers and `intrinsic` with 9. Correct the file."
        ) from None
    if not np.isfinite(extrinsic).all():
        raise ValueError(f"{path}: the extrinsic matrix is not finite. Correct the file.")
    return matrix, inverse(extrinsic[:3, :3], extrinsic[:3, 3].tolist()), _bounds(last, path)


def _bounds(numbers: list[float], path: Path) -> tuple[float, float] | None:
    if len(numbers) < 2:
        return None
    near, step, count = numbers[0], numbers[1], numbers[2] if len(numbers) > 2 else _PLANES
    far = numbers[3] if len(numbers) > 3 else near + step * (count - 1)
    if not 0 < near < far < np.inf:
        raise ValueError(f"{path}: the depths {near:g} to {far:g} in its last line must be 0 < near < far. Correct it.")
    return near, far
