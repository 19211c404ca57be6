"""A COLMAP model as `transforms.json` with nerfstudio's keys, and its points as PLY."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from scorereg.files.layouts.colmap_files import Camera, Picture
from scorereg.files.layouts.poses import inverse, rotation_of
from scorereg.files.view import Lens

__all__ = ["POINTS", "write_points", "write_transforms"]

POINTS = "sparse_pc.ply"
_BROWN = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
_FISHEYE = ("k1", "k2", "k3", "k4")


def write_transforms(path: Path, pictures: list[Picture], cameras: dict[int, Camera], folder: str) -> None:
    """Write `transforms.json`: OpenGL axes, world from camera, in the model's own unit.

    Args:
        path: The file.
        pictures: The photos that have a pose.
        cameras: Their cameras, by number.
        folder: Folder of the photos, relative to the file's.
    """
    keys = {number: _keys(camera.lens(path)) for number, camera in cameras.items()}
    frames = [_frame(picture, keys[picture.camera], folder) for picture in sorted(pictures, key=lambda p: p.name)]
    used = {picture.camera for picture in pictures}
    shared = keys[used.pop()] if len(used) == 1 else {}
    frames = [{key: value for key, value in frame.items() if key not in shared} for frame in frames]
    table = {**shared, "ply_file_path": POINTS, "frames": frames}
    path.write_text(json.dumps(table, indent=1), encoding="utf-8")


def write_points(path: Path, points: Float[np.ndarray, "p 3"]) -> None:
    """Write points as a binary PLY file of float32."""
    head = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\n"
    head += "".join(f"property float {axis}\n" for axis in "xyz") + "end_header\n"
    path.write_bytes(head.encode("ascii") + points.astype("<f4").tobytes())


def _frame(picture: Picture, keys: dict[str, Any], folder: str) -> dict[str, Any]:
    pose = np.array(inverse(rotation_of(picture.quaternion), picture.translation)).reshape(3, 4)
    rows = [*(pose * [1, -1, -1, 1]).tolist(), [0.0, 0.0, 0.0, 1.0]]
    return {"file_path": f"{folder}/{picture.name}", "transform_matrix": rows, **keys}


def _keys(lens: Lens) -> dict[str, Any]:
    assert lens.center is not None, "a lens of COLMAP has both"
    assert lens.size is not None, "a lens of COLMAP has both"
    names = _FISHEYE if lens.model == "fisheye" else _BROWN
    model = {"fisheye": "OPENCV_FISHEYE", "pinhole": "PINHOLE"}.get(lens.model, "OPENCV")
    return {
        "camera_model": "FULL_OPENCV" if len(lens.distortion) > 5 else model,
        "fl_x": lens.focal[0], "fl_y": lens.focal[1], "cx": lens.center[0], "cy": lens.center[1],
        "w": int(lens.size[0]), "h": int(lens.size[1]), **dict(zip(names, lens.distortion, strict=False)),
    }  # fmt: skip
