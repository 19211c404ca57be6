"""LLFF folders: `poses_bounds.npy` beside `images_8`, `images_4`, ... or `images`.

Each row of the file holds a 3x5 matrix, row by row, and the least and greatest depth of the view. The matrix's columns
are the camera's down, right and back axes, its center, and (height, width, focal length) in full-size pixels.
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from scorereg.cameras import Cameras
from scorereg.scenes.images import image_size, list_images, read_image
from scorereg.scenes.resize import check_sizes, reduce_image, reduction
from scorereg.scenes.scene import Capture, checked_pose
from scorereg.scenes.split import hold_out

__all__ = ["read_llff"]

_FOLDERS = ("images_8", "images_4", "images_2", "images")
_ASPECT_TOLERANCE = 0.02  # reduced images have whole pixels, and a ratio that is off by less than this


def read_llff(path: Path, views: int, *, max_size: int | None = None) -> Capture:
    """Read an LLFF folder, photos sorted by name, split as the literature does (`hold_out`).

    Raises:
        ValueError: If the pose file, a pose, the photos or their number cannot be used.
        FileNotFoundError: If there are no photos.
    """
    rows = _rows(path / "poses_bounds.npy")
    folder = _image_folder(path)
    files = list_images(folder)
    if len(files) != len(rows):
        raise ValueError(
            f"{folder}: {len(files)} images for the {len(rows)} poses of poses_bounds.npy; "
            "there must be one image for each pose."
        )
    width, height = check_sizes({file: image_size(file) for file in files})
    poses, focal = _cameras(rows, path / "poses_bounds.npy", width, height, [file.name for file in files])
    step = reduction(width, height, max_size)
    images = torch.stack([reduce_image(read_image(file), step) for file in files])
    center = torch.tensor([width, height]).expand(len(files), 2) / (2 * step)
    cameras = Cameras(poses, focal / step, center, images.shape[2], images.shape[1])
    train, test = hold_out(len(files), views, path=path)
    bounds = rows[list(train), 15:]
    names = tuple(str(file.relative_to(path)) for file in files)
    return Capture(images, cameras, names, train, test, bounds=(float(bounds[:, 0].min()), float(bounds[:, 1].max())))


def _rows(path: Path) -> np.ndarray:
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path}: not a readable NumPy file; make it again with LLFF's imgs2poses.") from error
    if rows.ndim != 2 or rows.shape[1] != 17 or not len(rows) or rows.dtype.kind != "f":
        raise ValueError(
            f"{path}: expected float numbers of shape (images, 17), but it holds {rows.dtype} of shape {rows.shape}; "
            "make it again with LLFF's imgs2poses."
        )
    return rows


def _image_folder(path: Path) -> Path:
    others = sorted(p.name for p in path.glob("images_*") if p.is_dir() and p.name not in _FOLDERS)
    for name in (*_FOLDERS[:-1], *others, _FOLDERS[-1]):
        if (path / name).is_dir() and list_images(path / name):
            return path / name
    raise FileNotFoundError(f"{path}: no images in images_8, images_4, images_2 or images; put the photos there.")


def _cameras(
    rows: np.ndarray, path: Path, width: int, height: int, names: list[str]
) -> tuple[Float[Tensor, "n 3 4"], Float[Tensor, "n 2"]]:
    matrices = torch.from_numpy(rows[:, :15].reshape(-1, 3, 5))
    poses, focals = [], []
    for i, (matrix, bounds) in enumerate(zip(matrices, rows[:, 15:], strict=True)):
        name = f"{path}, frame {i} ({names[i]})"
        down, right, back, origin, intrinsics = matrix.unbind(1)
        poses.append(checked_pose(torch.stack([right, down, -back, origin], 1), name))
        full_height, full_width, focal = intrinsics.tolist()
        if not (np.isfinite([full_height, full_width, focal]).all() and min(full_height, full_width, focal) > 0):
            raise ValueError(f"{name}: height {full_height:g}, width {full_width:g} and focal {focal:g} must be > 0.")
        if abs(width * full_height / (height * full_width) - 1) > _ASPECT_TOLERANCE:
            raise ValueError(
                f"{name}: the image is {width}x{height}, which is no reduction of the {full_width:g}x{full_height:g} "
                "that the pose file names; use the photos that the poses were made from."
            )
        if not (np.isfinite(bounds).all() and 0 < bounds[0] < bounds[1]):
            raise ValueError(f"{name}: depth bounds {bounds[0]:g} and {bounds[1]:g} must be 0 < near < far.")
        focals.append([focal * width / full_width, focal * height / full_height])
    return torch.stack(poses), torch.tensor(focals, dtype=torch.float32)
