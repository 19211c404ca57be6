"""LLFF folders: `poses_bounds.npy` beside `images_8`, `images_4`, ... or `images`.

Each row of the file holds a 3x5 matrix, row by row, and the least and greatest depth of the view. The matrix's columns
are the camera's down, right and back axes, its center, and (height, width, focal length) in full-size pixels.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from scorereg.files.arrays import read_npy
from scorereg.files.images import list_images
from scorereg.files.layouts.parsing import Bad, raise_it
from scorereg.files.names import shown
from scorereg.files.view import Lens, Listing, View

__all__ = ["POSES", "read_llff"]

POSES = "poses_bounds.npy"
_FOLDERS = ("images_8", "images_4", "images_2", "images")
_REMEDY = "make it again with LLFF's imgs2poses."


def read_llff(folder: Path, bad: Bad = raise_it) -> Listing:
    """Read an LLFF folder, photos sorted by name. Of reduced copies the smallest is taken.

    Args:
        folder: The folder.
        bad: Not used: the rows have no names, so one that cannot be used makes the others doubtful.

    Raises:
        ValueError: If the pose file, or the number of photos, cannot be used.
        FileNotFoundError: If there are no photos.
    """
    path = folder / POSES
    rows = _rows(path)
    photos = _photos(folder)
    if len(photos) != len(rows):
        raise ValueError(
            f"{photos[0].parent}: {len(photos)} images for the {len(rows)} poses of {POSES}; there must be one image "
            "for each pose."
        )
    views = (
        _view(photo, row, f"{path}, frame {shown(photo, folder)}") for photo, row in zip(photos, rows, strict=True)
    )
    return Listing(path, tuple(views))


def _rows(path: Path) -> Float[np.ndarray, "n 17"]:
    try:
        rows = read_npy(path)
    except ValueError as error:
        raise ValueError(f"{path}: not a readable NumPy file; {_REMEDY}") from error
    if rows.ndim != 2 or rows.shape[1] != 17 or not len(rows) or rows.dtype.kind != "f":
        raise ValueError(
            f"{path}: expected float numbers of shape (images, 17), but it holds {rows.dtype} of shape {rows.shape}; "
            f"{_REMEDY}"
        )
    return rows.astype(np.float64)


def _photos(folder: Path) -> list[Path]:
    others = sorted(p.name for p in folder.glob("images_*") if p.is_dir() and p.name not in _FOLDERS)
    for name in (*_FOLDERS[:-1], *others, _FOLDERS[-1]):
        if (folder / name).is_dir() and (photos := list_images(folder / name)):
            return photos
    raise FileNotFoundError(f"{folder}: no images in images_8, images_4, images_2 or images; put the photos there.")


def _view(photo: Path, row: Float[np.ndarray, " 17"], name: str) -> View:
    down, right, back, origin, intrinsics = row[:15].reshape(3, 5).T
    height, width, focal = intrinsics.tolist()
    if not (np.isfinite(intrinsics).all() and intrinsics.min() > 0):
        raise ValueError(f"{name}: height {height:g}, width {width:g} and focal {focal:g} must be > 0.")
    near, far = row[15:].tolist()
    if not 0 < near < far < np.inf:
        raise ValueError(f"{name}: depth bounds {near:g} and {far:g} must be 0 < near < far.")
    pose = np.stack([right, down, -back, origin], 1).reshape(-1)
    lens = Lens((focal, focal), size=(width, height))
    return View(photo, lens=lens, pose=tuple(pose.tolist()), bounds=(near, far))
