"""Reader of nerfstudio's `transforms.json`: poses in OpenGL axes (x right, y up, z back), intrinsics of all or each.

It reads `fl_x fl_y cx cy w h` (or `camera_angle_x`), `k1 k2 k3 p1 p2`, `train_filenames`, `test_filenames`,
`depth_unit_scale_factor`, `ply_file_path` and, of each frame, `file_path`, `transform_matrix` and `depth_file_path`.
Three keys are extensions: `"metric": true` declares lengths in metres where no depth map implies it, and `near` and
`far` are the range of depths, in the file's unit.
"""

import json
import math
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from scorereg.cameras import Cameras
from scorereg.scenes.images import IMAGE_SUFFIXES, image_size, read_depth, read_image
from scorereg.scenes.ply import read_ply
from scorereg.scenes.resize import check_sizes, reduce_depth, reduce_image, reduction, undistort
from scorereg.scenes.scene import Capture, checked_pose
from scorereg.scenes.split import hold_out, spread

__all__ = ["read_transforms"]

_PINHOLES = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE")
_LENS = ("k1", "k2", "p1", "p2", "k3")
_Size = tuple[int, int]  # width, height
_Lens = tuple[Float[Tensor, " 2"], Float[Tensor, " 2"], Float[Tensor, " 5"]]  # focal, center, distortion
_UNKNOWN_LENS = ("k4", "k5", "k6")
_MILLIMETRES = 0.001  # nerfstudio's default unit of a depth map


def read_transforms(path: Path, views: int, *, max_size: int | None = None) -> Capture:
    """Read a folder with `transforms.json`, frames sorted by `file_path`, images undistorted.

    Raises:
        ValueError: If the file, a frame, an image or the number of views cannot be used.
        FileNotFoundError: If a file named in it is missing.
    """
    file = path / "transforms.json"
    table = _table(file)
    frames = sorted(table["frames"], key=lambda frame: str(frame.get("file_path", "")))
    names = [_frame_name(frame, file) for frame in frames]
    train, test = _split(table, names, views, file)
    photos = [_photo(path, name, file) for name in names]
    width, height = check_sizes({photo: image_size(photo) for photo in photos})
    poses = torch.stack([_pose(frame, file) for frame in frames])
    lenses = [_lens({**table, **frame}, frame["file_path"], file, width, height) for frame in frames]
    step = reduction(width, height, max_size)
    images = torch.stack([_straight(read_image(p), *lens, step) for p, lens in zip(photos, lenses, strict=True)])
    focal, center, _ = (torch.stack(x) / step for x in zip(*lenses, strict=True))
    cameras = Cameras(poses, focal, center, images.shape[2], images.shape[1])
    maps = _depth(path, file, table, frames, lenses, (width, height))
    depth = None if maps is None else torch.stack([reduce_depth(depth, step) for depth in maps])
    metric = bool(table.get("metric", depth is not None))
    points = _points(path, table, file)
    files = tuple(str(photo.relative_to(path)) for photo in photos)
    return Capture(images, cameras, files, train, test, depth, metric, _bounds(table, file), points)


def _table(file: Path) -> dict[str, Any]:
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: not valid JSON ({error}); write it again.") from error
    frames = table.get("frames") if isinstance(table, dict) else None
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise ValueError(f"{file}: `frames` must be a list of at least one frame; write the file again.")
    model = table.get("camera_model", "OPENCV")
    if model not in _PINHOLES:
        raise ValueError(f"{file}: camera_model {model!r} is not a pinhole; undistort the images and write OPENCV.")
    return table


def _frame_name(frame: dict[str, Any], file: Path) -> str:
    name = frame.get("file_path")
    if not isinstance(name, str) or not name:
        raise ValueError(f"{file}: a frame has no `file_path`; name its image.")
    return name


def _photo(path: Path, name: str, file: Path) -> Path:
    photo = path / name
    for candidate in (photo, *(photo.with_name(photo.name + suffix) for suffix in IMAGE_SUFFIXES)):
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(f"{photo}: the image named in {file.name} is missing; add it or remove its frame.")


def _pose(frame: dict[str, Any], file: Path) -> Float[Tensor, "3 4"]:
    name = f"{file}, frame {frame['file_path']}"
    try:
        matrix = torch.tensor(frame["transform_matrix"], dtype=torch.float64)
    except KeyError as error:
        raise ValueError(f"{name}: no `transform_matrix`; write the camera-to-world matrix of each frame.") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: `transform_matrix` is not a table of numbers; write 3 or 4 rows of 4.") from error
    if matrix.shape not in ((4, 4), (3, 4)):
        raise ValueError(f"{name}: `transform_matrix` has shape {tuple(matrix.shape)}; write 3 or 4 rows of 4 numbers.")
    return checked_pose(matrix[:3] * matrix.new_tensor([1, -1, -1, 1]), name)


def _lens(entry: dict[str, Any], frame: str, file: Path, width: int, height: int) -> _Lens:
    """Focal lengths, center and distortion of one frame, for the image's true size."""
    name = f"{file}, frame {frame}"
    if any(entry.get(key) for key in _UNKNOWN_LENS):
        raise ValueError(f"{name}: lens terms beyond k3 are not supported; undistort the images first.")
    if "fl_x" not in entry and "camera_angle_x" not in entry:
        raise ValueError(f"{name}: no focal length; write `fl_x` or `camera_angle_x`, for the frame or for all.")
    wide, high = _number(entry, "w", width, name), _number(entry, "h", height, name)
    if "fl_x" in entry:
        fx = _number(entry, "fl_x", 0, name)
    else:
        fx = wide / (2 * math.tan(_number(entry, "camera_angle_x", 0, name) / 2) or math.inf)
    fy = _number(entry, "fl_y", fx, name)
    if min(fx, fy, wide, high) <= 0:
        raise ValueError(f"{name}: focal lengths, w and h must be above 0, but are {fx:g}, {fy:g}, {wide:g}, {high:g}.")
    across = torch.tensor([width / wide, height / high])
    center = torch.tensor([_number(entry, "cx", wide / 2, name), _number(entry, "cy", high / 2, name)])
    lens = torch.tensor([_number(entry, key, 0, name) for key in _LENS])
    return torch.tensor([fx, fy]) * across, center * across, lens


def _number(entry: dict[str, Any], key: str, default: int | float, name: str) -> float:
    value = entry.get(key, default)
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name}: `{key}` must be a finite number, but is {value!r}.")
    return float(value)


def _straight(
    image: Float[Tensor, "h w 3"],
    focal: Float[Tensor, " 2"],
    center: Float[Tensor, " 2"],
    distortion: Float[Tensor, " 5"],
    step: int,
) -> Float[Tensor, "i j 3"]:
    if distortion.any():
        image = undistort(image, focal, center, distortion)
    return reduce_image(image, step)


def _depth(
    path: Path, file: Path, table: dict[str, Any], frames: list[dict[str, Any]], lenses: list[_Lens], size: _Size
) -> list[Float[Tensor, "h w"]] | None:
    """Undistorted depth maps, 0 for a frame without one; None if no frame has one."""
    names = [_path(frame, "depth_file_path", file) for frame in frames]
    if not any(names):
        return None
    unit = table.get("depth_unit_scale_factor", _MILLIMETRES)
    if not isinstance(unit, int | float) or not 0 < unit < math.inf:
        raise ValueError(f"{file}: depth_unit_scale_factor must be a number above 0, but is {unit!r}.")
    width, height = size
    maps = []
    for frame, name, (focal, center, distortion) in zip(frames, names, lenses, strict=True):
        depth = read_depth(path / name, unit) if name else torch.zeros(height, width)
        if depth.shape != (height, width):
            raise ValueError(
                f"{path / str(name)}: depth of {depth.shape[1]}x{depth.shape[0]} pixels for the image "
                f"{frame['file_path']} of {width}x{height}; the two must have one size."
            )
        bent = bool(distortion.any())
        maps.append(undistort(depth[..., None], focal, center, distortion, mode="nearest")[..., 0] if bent else depth)
    return maps


def _split(table: dict[str, Any], names: list[str], views: int, file: Path) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if "train_filenames" not in table and "test_filenames" not in table:
        return hold_out(len(names), views, path=file)
    test = _positions(table.get("test_filenames", []), names, file)
    train = _positions(table.get("train_filenames", []), names, file)
    if "train_filenames" not in table:
        train = [i for i in range(len(names)) if i not in test]
    if "test_filenames" not in table:
        test = [i for i in range(len(names)) if i not in train]
    both = set(train) & set(test)
    if both:
        raise ValueError(f"{file}: {names[min(both)]} is in both train_filenames and test_filenames; keep it in one.")
    return spread(train, views, path=file), tuple(test)


def _positions(chosen: Any, names: list[str], file: Path) -> list[int]:
    chosen = chosen if isinstance(chosen, list) else [chosen]
    for name in chosen:
        if name not in names:
            raise ValueError(f"{file}: {name} in train_filenames or test_filenames is no frame; correct the list.")
    return [names.index(name) for name in chosen]


def _bounds(table: dict[str, Any], file: Path) -> tuple[float, float] | None:
    if "near" not in table and "far" not in table:
        return None
    try:
        near, far = float(table["near"]), float(table["far"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file}: `near` and `far` must both be numbers, in the unit of the poses.") from error
    if not 0 < near < far < math.inf:
        raise ValueError(f"{file}: near {near:g} and far {far:g} must be 0 < near < far.")
    return near, far


def _points(path: Path, table: dict[str, Any], file: Path) -> Float[Tensor, "p 3"] | None:
    name = _path(table, "ply_file_path", file)
    return read_ply(path / name) if name else None


def _path(entry: dict[str, Any], key: str, file: Path) -> str | None:
    """Name of a file that an entry may leave out."""
    name = entry.get(key)
    if name is not None and not isinstance(name, str):
        raise ValueError(f"{file}: `{key}` must be the name of a file, but is {name!r}.")
    return name or None
