"""Polycam's raw data: `keyframes/corrected_images/T.jpg`, `corrected_cameras/T.json`, `depth/T.png` in millimetres.

The JSON of a photo has `fx`, `fy`, `cx`, `cy`, `width`, `height` and the rows `t_00` ... `t_23` of its pose: world from
camera in metres, of a camera with y up that looks against z (ARKit's and OpenGL's axes). Before Polycam has optimised a
capture, the folders are `images` and `cameras`.
"""

from pathlib import Path

import numpy as np

from scorereg.files.depth import DEPTH_SUFFIXES
from scorereg.files.layouts.folders import by_stem, natural
from scorereg.files.layouts.parsing import MILLIMETRE, Bad, load_json, number, raise_it
from scorereg.files.layouts.poses import lost_words, pose_of
from scorereg.files.text import number_in
from scorereg.files.view import Lens, Listing, View

__all__ = ["is_polycam", "read_polycam"]

_FOLDERS = (("corrected_images", "corrected_cameras"), ("images", "cameras"))


def is_polycam(folder: Path) -> bool:
    """Whether a folder has Polycam's `keyframes/`, or is that folder."""
    return _place(folder) is not None


def read_polycam(folder: Path, bad: Bad = raise_it) -> Listing:
    """Read a capture of Polycam; depth maps of another size are those of the same name.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a file does not hold what it should.
    """
    place = _place(folder)
    if place is None:
        raise FileNotFoundError(
            f"{folder / 'keyframes'} has no corrected_images/ and corrected_cameras/. Export raw data."
        )
    photos, cameras = place
    colors = by_stem(photos)
    files = by_stem(cameras, (".json",))
    depths = by_stem(photos.parent / "depth", DEPTH_SUFFIXES) if (photos.parent / "depth").is_dir() else {}
    for name in sorted(set(colors) - set(files)):
        bad(
            FileNotFoundError(
                f"{cameras / name}.json is missing: {colors[name]} needs it. Restore it or drop the photo."
            )
        )
    names = sorted(set(colors) & set(files), key=natural)
    views = tuple(_view(colors[name], depths.get(name), files[name]) for name in names)
    lost = [view.file.name for view in views if view.pose is None]
    return Listing(folder, views, metric=True, said=lost_words(folder, lost, len(views)))


def _place(folder: Path) -> tuple[Path, Path] | None:
    for base in (folder / "keyframes", folder):
        for photos, cameras in _FOLDERS:
            if (base / photos).is_dir() and (base / cameras).is_dir():
                return base / photos, base / cameras
    return None


def _view(color: Path, depth: Path | None, path: Path) -> View:
    meta = load_json(path)
    rows = [[number_in(meta, f"t_{row}{column}", str(path)) for column in range(4)] for row in range(3)]
    if any(value is None for row in rows for value in row):
        raise ValueError(f"{path} needs `t_00` to `t_23`, the rows of the pose. Export the raw data again.")
    pose = pose_of(np.array(rows, np.float64) * [1, -1, -1, 1], str(path))
    fx, fy, w, h = (number(meta.get(key), key, path) for key in ("fx", "fy", "width", "height"))
    cx, cy = (number_in(meta, key, str(path), side / 2) or 0.0 for key, side in (("cx", w), ("cy", h)))
    return View(color, depth, lens=Lens((fx, fy), (cx, cy), size=(w, h)), pose=pose, unit=MILLIMETRE)
