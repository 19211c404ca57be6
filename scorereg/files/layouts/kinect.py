"""7-Scenes (Shotton et al. 2013): `NAME.color.png`, `NAME.depth.png` in millimetres, `NAME.pose.txt`, in one folder.

Poses are 4x4 matrices, world from camera, in metres, of a camera that looks along z with y down. The data set gives no
calibration but the focal length, and does not register photos and depth maps to each other.
"""

import re
from pathlib import Path

import numpy as np

from scorereg._io import read_text
from scorereg.files.depth import DEPTH_SUFFIXES
from scorereg.files.images import IMAGE_SUFFIXES
from scorereg.files.layouts.folders import natural, size_of_first
from scorereg.files.layouts.intrinsics import INTRINSICS, camera_of
from scorereg.files.layouts.lenses import lens_of_matrix, read_lens, sized_for
from scorereg.files.layouts.parsing import MILLIMETRE, Bad, paired, raise_it
from scorereg.files.layouts.poses import lost_words, read_pose
from scorereg.files.view import Lens, Listing, View
from scorereg.files.walk import is_litter

__all__ = ["CAMERA", "is_color", "read_kinect"]

CAMERA = "camera-intrinsics.txt"
_INFO = ("info.txt", "_info.txt")  # of BundleFusion and of ScanNet's .sens reader
_SIZE = 640.0, 480.0
_OWN = np.array([[585.0, 0, 320], [0, 585, 240], [0, 0, 1]])  # its page: "principle point (320, 240), focal length 585"


def is_color(name: str) -> bool:
    """Whether a file's name is that of a photo of this layout."""
    return _stem(name, "color", IMAGE_SUFFIXES) is not None


def read_kinect(folder: Path, bad: Bad = raise_it) -> Listing:
    """Read a folder of 7-Scenes: camera of `camera-intrinsics.txt` (3x3), `info.txt`, `intrinsics.json`, or `seq-NN`'s.

    A view without a pose, or with one that is not finite or all zero, keeps none.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a file does not hold what it should.
    """
    files = [path for path in sorted(folder.iterdir()) if not is_litter(path.name)]
    colors = {stem: path for path in files if (stem := _stem(path.name, "color", IMAGE_SUFFIXES)) is not None}
    depths = {stem: path for path in files if (stem := _stem(path.name, "depth", DEPTH_SUFFIXES)) is not None}
    lens, unit = _lens(folder, size_of_first(colors.values(), depths.values()))
    names = paired(folder, colors, depths, bad) if colors and depths else [*colors, *depths]
    poses = {name: read_pose(folder / f"{name}.pose.txt") for name in names}
    views = tuple(
        View(colors.get(name), depths.get(name), lens=lens, pose=poses[name], unit=unit, shared=True)
        for name in sorted(names, key=natural)
    )
    lost = [name for name in names if poses[name] is None]
    return Listing(folder, views, metric=True, said=lost_words(folder, lost, len(names)), axes="opencv")


def _stem(name: str, kind: str, suffixes: tuple[str, ...]) -> str | None:
    """`frame-000000` of `frame-000000.color.png`, in any case of letters; None of another kind of file."""
    found = re.fullmatch(rf"(.+)\.{kind}(\.\w+)", name, re.IGNORECASE)
    return found[1] if found and found[2].lower() in suffixes else None


def _lens(folder: Path, photo: tuple[float, float] | None) -> tuple[Lens, float]:
    """The lens, and metres per unit of depth."""
    path = folder / CAMERA
    if not path.is_file() and (folder / INTRINSICS).is_file():
        return camera_of(folder, "", photo)
    return _matrix(folder, path, photo), MILLIMETRE


def _matrix(folder: Path, path: Path, photo: tuple[float, float] | None) -> Lens:
    info = next((folder / name for name in _INFO if (folder / name).is_file()), None)
    if not path.is_file() and info is not None:
        return _described(info, photo)
    if not path.is_file() and re.fullmatch(r"seq-?\d+", folder.resolve().name, re.IGNORECASE):
        return lens_of_matrix(_OWN, path, _SIZE)
    return read_lens(path, "the frames beside it need its 3x3 camera matrix. That of 7-Scenes is 585 0 320 / 0 585 240 "
                           "/ 0 0 1.", photo, others=[_SIZE])  # fmt: skip


def _described(path: Path, photo: tuple[float, float] | None) -> Lens:
    """The colour camera of an `info.txt`: a line `m_calibrationColorIntrinsic = ` and 16 numbers."""
    text = read_text(path, "Restore the file.", latin=True)
    found = re.search(r"m_calibrationColorIntrinsic\s*=((?:[ \t]+[-+]?[\d.]+(?:[eE][-+]?\d+)?){16})", text)
    if not found:
        raise ValueError(
            f"{path} has no m_calibrationColorIntrinsic with 16 numbers. Write the camera matrix into {CAMERA}."
        )
    matrix = np.array([float(word) for word in found[1].split()]).reshape(4, 4)
    size = sized_for((matrix[0, 2], matrix[1, 2]), photo, [_SIZE], path) if photo is not None else None
    return lens_of_matrix(matrix, path, size)
