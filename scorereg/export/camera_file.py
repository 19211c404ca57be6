"""Cameras of a transforms.json, without its photos, in the scene's own coordinates."""

import math
import warnings
from pathlib import Path
from typing import Any

import torch

from scorereg._io import read_json
from scorereg.cameras import Cameras
from scorereg.export.coordinates import from_file
from scorereg.export.shots import Shot
from scorereg.files.layouts.lens_keys import lens_among
from scorereg.files.layouts.transforms_frame import matrix_of
from scorereg.files.lens import is_bent, lens_of_size
from scorereg.fit.views import picture_names
from scorereg.scenes import Scene
from scorereg.scenes.poses import checked_pose

__all__ = ["read_shots"]

_CURE = "Write it again."
_MOST = 16_384  # pixels of a side
_FLIP = torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64)  # OpenGL's axes to OpenCV's


def read_shots(path: Path, scene: Scene) -> list[Shot]:
    """Read the cameras of a file, with the keys of nerfstudio's `transforms.json`; no photo needs to be there.

    Poses are OpenGL's, camera-to-world, in the coordinates of the files that the scene was loaded from: its scale and
    offset are applied. A frame without a focal length has that of the scene's photos. Distortion is not rendered.

    Args:
        path: The file.
        scene: The scene of a fit.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it has no frames, or one cannot be used.
    """
    table = read_json(path, _CURE)
    if "camera_path" in table and "frames" not in table:
        raise ValueError(
            f"{path} is a path of nerfstudio's viewer, whose coordinates are those of its own training. Give cameras "
            "in the coordinates of the scene's files, as a transforms.json."
        )
    frames = table.get("frames")
    if not isinstance(frames, list) or not frames or not all(isinstance(entry, dict) for entry in frames):
        raise ValueError(f"{path}: `frames` must be a list of at least one frame with a `transform_matrix`. {_CURE}")
    written = [entry.get("file_path") for entry in frames]
    named = all(
        isinstance(name, str) and Path(name).stem and name.isprintable() and len(name) < 200 for name in written
    )
    names = picture_names([Path(str(name)) for name in written]) if named else [f"{i:04}" for i in range(len(frames))]
    bent = 0
    shots = []
    for i, (name, entry) in enumerate(zip(names, frames, strict=True)):
        camera, distorted = _camera(table, entry, scene, f"{path}, frame {i} ({name})")
        bent += distorted
        shots.append(Shot(name, camera))
    if bent:
        warnings.warn(
            f"{path}: the lenses of {bent} frames are distorted; they are rendered as pinholes.", stacklevel=2
        )
    return shots


def _camera(table: dict[str, Any], entry: dict[str, Any], scene: Scene, name: str) -> tuple[Cameras, bool]:
    """The camera of a frame, and whether its lens is distorted."""
    own = scene.cameras.to("cpu")
    if entry.get("transform_matrix") is None:
        raise ValueError(f"{name} has no `transform_matrix`, so there is no place to render from. {_CURE}")
    matrix = torch.tensor(matrix_of(entry["transform_matrix"], "transform_matrix", name), dtype=torch.float64)
    pose = checked_pose(matrix.reshape(3, 4) * _FLIP, name)
    pose = torch.cat([pose[:, :3].float(), from_file(pose[:, 3], scene)[:, None]], 1)
    levels = entry, table
    lens = lens_among(levels, lambda: (own.width, own.height), 1, name)
    if lens is None:
        same = own[0]
        return Cameras(pose[None], same.focal, same.center, own.width, own.height), False
    width, height = (round(side) for side in lens.size or (own.width, own.height))
    if not 1 <= min(width, height) <= max(width, height) <= _MOST:
        raise ValueError(f"{name}: w and h are {width}x{height}, but a side has 1 to {_MOST} pixels. {_CURE}")
    lens = lens_of_size(lens, width, height)
    assert lens.center is not None, "of a lens of a size"
    numbers = (*lens.focal, *lens.center)
    if not all(math.isfinite(x) and abs(x) < 1e7 for x in numbers):
        raise ValueError(f"{name}: fl_x, fl_y, cx or cy is {max(numbers, key=abs):g}. {_CURE}")
    focal, center = torch.tensor([lens.focal]), torch.tensor([lens.center])
    return Cameras(pose[None], focal, center, width, height), is_bent(lens)
