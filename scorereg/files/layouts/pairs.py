"""Photos and depth maps in two folders, paired by name, with one camera: `rgb/`, `depth/`, `intrinsics.json`.

    rgb/NAME.jpg          or color, images, image; or none
    depth/NAME.png        or depths; integers in millimetres, if not said; .npy, .exr, .pfm: floats in metres; or none
    intrinsics.json       or a 3x3 matrix in camera-intrinsics.txt, intrinsics.txt or cam_K.txt
    pose/NAME.txt         world from camera, 4x4, metres, for a scene; or traj.txt with a line of 16 numbers each
    mask/NAME.png         pixels that count
    OTHER/NAME.png        a map OTHER

Poses are of a camera that looks along z with y down (OpenCV's axes).
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from scorereg.files.arrays import read_npy
from scorereg.files.depth import DEPTH_SUFFIXES, read_depth
from scorereg.files.images import read_head
from scorereg.files.layouts.folders import (
    COLOR_FOLDERS,
    DEPTH_FOLDERS,
    MASK_FOLDERS,
    by_stem,
    matched,
    named,
    natural,
    size_of_first,
)
from scorereg.files.layouts.intrinsics import camera_of
from scorereg.files.layouts.parsing import MILLIMETRE, Bad, paired, raise_it
from scorereg.files.layouts.poses import lost_words, read_pose, read_trajectory
from scorereg.files.view import Listing, View
from scorereg.files.walk import is_litter

__all__ = ["read_pairs"]

_FLOATS = (".npy", ".npz", ".exr", ".pfm", ".tif", ".tiff")
_MOST_METRES = 100.0
_TRAJECTORIES = ("traj.txt", "traj_w_c.txt", "poses.txt")
_NEEDS = "rgb/ and depth/ need it for fl_x, fl_y and depth_unit_scale_factor."
_POSES = ("pose", "poses")
_ROTATED = "depth_bfx"  # SUN RGB-D's depth maps with their holes filled


def read_pairs(folder: Path, bad: Bad = raise_it) -> Listing:
    """Read folders of photos and depth maps, or one of the two alone.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a file does not hold what it should.
    """
    color, depth = named(folder, COLOR_FOLDERS), named(folder, DEPTH_FOLDERS)
    if depth and (folder / _ROTATED).is_dir():
        raise ValueError(
            f"{depth}: depth maps of SUN RGB-D, as {_ROTATED}/ beside them tells, have their bits rotated by three. "
            "Write d >> 3 | d << 13 of their 16 bits, in millimetres, to another folder, with rgb/ and intrinsics.json."
        )
    colors = by_stem(color) if color else {}
    depths = matched(colors, by_stem(depth, DEPTH_SUFFIXES)) if depth else {}
    lens, unit = camera_of(folder, _NEEDS, size_of_first(colors.values(), depths.values()), unit=_unit(depths.values()))
    if depth and not depths:
        _check_depth_files(depth)
    names = paired(folder, colors, depths, bad) if color and depth else [*colors, *depths]
    names = sorted(names, key=natural)
    others = {
        sub.name: matched(colors, by_stem(sub) | by_stem(sub, DEPTH_SUFFIXES))
        for sub in sorted(folder.iterdir())
        if sub.is_dir() and sub not in (color, depth) and sub.name.lower() not in _POSES and not is_litter(sub.name)
    }
    masks = next((others[name] for name in MASK_FOLDERS if name in others), {})
    poses = _poses(folder, names)
    views = tuple(
        View(
            colors.get(name), depths.get(name), masks.get(name), lens=lens, pose=poses[name], unit=unit, shared=True,
            maps=tuple((other, files[name]) for other, files in others.items() if name in files),
        )
        for name in names
    )  # fmt: skip
    lost = [name for name in names if poses[name] is None]
    return Listing(folder, views, metric=True, said=lost_words(folder, lost, len(names)), axes="opencv")


def _check_depth_files(depth: Path) -> None:
    """Raise if a folder of depth maps has files of other kinds only."""
    first = next((path for path in sorted(depth.iterdir()) if path.is_file() and not is_litter(path.name)), None)
    if first is not None:
        raise ValueError(
            f"{first} is no depth map by its suffix: {', '.join(DEPTH_SUFFIXES)} are read. Save depth as 16-bit PNG; "
            "JPEG and 8 bits do not hold it."
        )


def _unit(depths: Iterable[Path]) -> float:
    """Metres per unit where no file says: floats are metres, integers millimetres; so are floats of TIFF above 100."""
    first = next(iter(depths), None)
    if first is None or first.suffix.lower() not in _FLOATS:
        return MILLIMETRE
    try:
        if first.suffix.lower() in (".tif", ".tiff"):
            middle = np.nanmedian(read_depth(first, 1.0)) if read_head(first).bits == 32 else np.inf
            return 1.0 if middle < _MOST_METRES else MILLIMETRE
        return 1.0 if first.suffix.lower() != ".npy" or read_npy(first).dtype.kind == "f" else MILLIMETRE
    except (OSError, ValueError):  # reported when the frame is read
        return 1.0


def _poses(folder: Path, names: list[str]) -> dict[str, tuple[float, ...] | None]:
    place = named(folder, _POSES)
    if place:
        files = matched(dict.fromkeys(names, folder), by_stem(place, (".txt",)))
        return {name: read_pose(files[name]) if name in files else None for name in names}
    path = next((folder / name for name in _TRAJECTORIES if (folder / name).is_file()), folder / _TRAJECTORIES[0])
    numbers = [int(name) if name.isdecimal() else place for place, name in enumerate(names)]
    return dict(zip(names, read_trajectory(path, numbers), strict=True))
