"""Find RGB-D frames on disk: which image belongs to which depth map, with what focal length and depth unit.

Four layouts, told apart by the file that describes a folder; a root that holds many such folders is searched:

    transforms.json             nerfstudio: frames with `file_path`, `depth_file_path`, `fl_x`
    frames.json                 rooms as rendered: frames with `image`, `depth`, `fx`
    intrinsics.json             `rgb/NAME.jpg` and `depth/NAME.png`, one camera
    camera-intrinsics.txt       `NAME.color.jpg` and `NAME.depth.png`, one 3x3 camera matrix

Depth is planar z in integer units of `unit` metres; 0 and 65535 mean that nothing was measured.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Frame", "find_frames", "rgbd_folders"]

_IMAGES = (".jpg", ".jpeg", ".png")
_MILLIMETRE = 0.001


@dataclass(frozen=True)
class Frame:
    """One photo with its depth map.

    Args:
        scene: Name of the folder that it is from, with its parent's.
        color: The photo.
        depth: The depth map, of the photo's size.
        focal: Horizontal and vertical focal length, in pixels.
        unit: Metres per unit of the depth map.
    """

    scene: str
    color: Path
    depth: Path
    focal: tuple[float, float]
    unit: float


def find_frames(paths: list[Path]) -> list[Frame]:
    """Return the frames of all RGB-D folders at or below `paths`, in order of their names.

    Raises:
        FileNotFoundError: If a path or a file that belongs to a frame is not there.
        ValueError: If a folder holds no RGB-D frames, or its description is broken.
    """
    frames: list[Frame] = []
    for path in paths:
        if not path.is_dir():
            raise FileNotFoundError(
                f"{path} is no folder. Name folders with RGB-D frames, or a folder of such folders."
            )
        found = [frame for folder in rgbd_folders(path) for frame in _read_folder(folder)]
        if not found:
            raise ValueError(
                f"{path} holds no RGB-D frames. Expected below it: transforms.json with depth_file_path, frames.json, "
                "rgb/ and depth/ with intrinsics.json, or *.color.jpg and *.depth.png with camera-intrinsics.txt."
            )
        frames += found
    return frames


def rgbd_folders(root: Path) -> list[Path]:
    """Return the folders that some layout claims; nothing inside such a folder is searched."""
    claimed = []
    for here, folders, files in os.walk(root):
        folders.sort()
        if _reader(set(files), set(folders)):
            claimed.append(Path(here))
            folders.clear()
    return claimed


def _reader(files: set[str], folders: set[str]) -> Callable[[Path], list[Frame]] | None:
    if "transforms.json" in files:
        return _read_transforms
    if "frames.json" in files:
        return _read_rooms
    if {"rgb", "depth"} <= folders:
        return _read_pairs
    if "camera-intrinsics.txt" in files or any(name.endswith(".color.jpg") for name in files):
        return _read_kinect
    return None


def _read_folder(folder: Path) -> list[Frame]:
    entries = list(os.scandir(folder))
    reader = _reader({e.name for e in entries if e.is_file()}, {e.name for e in entries if e.is_dir()})
    frames = reader(folder) if reader else []
    for frame in frames:
        for path in (frame.color, frame.depth):
            if not path.is_file():
                raise FileNotFoundError(
                    f"{path} is missing: photo and depth must come in pairs. Restore it or drop the frame."
                )
    return frames


def _scene(folder: Path) -> str:
    folder = folder.resolve()
    return f"{folder.parent.name}/{folder.name}"


def _read_transforms(folder: Path) -> list[Frame]:
    path = folder / "transforms.json"
    meta = _load_json(path)
    unit = _number(meta.get("depth_unit_scale_factor", _MILLIMETRE), "depth_unit_scale_factor", path)
    frames = []
    for entry in _entries(meta, path):
        if "depth_file_path" not in entry:
            continue
        focal_x = _number(entry.get("fl_x", meta.get("fl_x")), "fl_x", path)
        focal_y = _number(entry.get("fl_y", meta.get("fl_y", focal_x)), "fl_y", path)
        color, depth = _text(entry, "file_path", path), _text(entry, "depth_file_path", path)
        frames.append(Frame(_scene(folder), folder / color, folder / depth, (focal_x, focal_y), unit))
    if not frames:
        raise ValueError(
            f"{path} names no depth (`depth_file_path`), so no RGB-D prior can learn from it. Leave it out."
        )
    return frames


def _read_rooms(folder: Path) -> list[Frame]:
    path = folder / "frames.json"
    meta = _load_json(path)
    unit = _number(meta.get("depth_unit_m", _MILLIMETRE), "depth_unit_m", path)
    frames = []
    for entry in _entries(meta, path):
        focal_x = _number(entry.get("fx"), "fx", path)
        focal_y = _number(entry.get("fy", focal_x), "fy", path)
        color, depth = _text(entry, "image", path), _text(entry, "depth", path)
        frames.append(Frame(_scene(folder), folder / color, folder / depth, (focal_x, focal_y), unit))
    return frames


def _read_pairs(folder: Path) -> list[Frame]:
    path = folder / "intrinsics.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: rgb/ and depth/ need it for fl_x, fl_y and depth_unit_scale_factor."
        )
    meta = _load_json(path)
    focal_x = _number(meta.get("fl_x"), "fl_x", path)
    focal_y = _number(meta.get("fl_y", focal_x), "fl_y", path)
    unit = _number(meta.get("depth_unit_scale_factor", _MILLIMETRE), "depth_unit_scale_factor", path)
    colors = {p.stem: p for p in (folder / "rgb").iterdir() if p.suffix.lower() in _IMAGES}
    depths = {p.stem: p for p in (folder / "depth").iterdir() if p.suffix.lower() == ".png"}
    _check_paired(folder, colors, depths)
    return [Frame(_scene(folder), colors[name], depths[name], (focal_x, focal_y), unit) for name in sorted(colors)]


def _read_kinect(folder: Path) -> list[Frame]:
    path = folder / "camera-intrinsics.txt"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: the frames beside it need its 3x3 camera matrix.")
    try:
        matrix = [
            [float(v) for v in line.split()] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()
        ]
        focal = _number(matrix[0][0], "fx", path), _number(matrix[1][1], "fy", path)
    except (ValueError, IndexError):
        raise ValueError(
            f"{path} must hold a 3x3 camera matrix with focal lengths > 0, in pixels. Mend the file."
        ) from None
    colors = {p.name.removesuffix(".color.jpg"): p for p in folder.glob("*.color.jpg")}
    depths = {p.name.removesuffix(".depth.png"): p for p in folder.glob("*.depth.png")}
    _check_paired(folder, colors, depths)
    return [Frame(_scene(folder), colors[name], depths[name], focal, _MILLIMETRE) for name in sorted(colors)]


def _check_paired(folder: Path, colors: dict[str, Path], depths: dict[str, Path]) -> None:
    for here, there, what in ((colors, depths, "depth map"), (depths, colors, "photo")):
        lonely = sorted(set(here) - set(there))
        if lonely:
            raise ValueError(
                f"{here[lonely[0]]} has no {what} of the same name in {folder} ({len(lonely)} such). "
                "Add the missing files or remove the lonely ones."
            )


def _load_json(path: Path) -> dict[str, Any]:
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no valid JSON ({error}). Restore the file or leave its folder out.") from None
    if not isinstance(meta, dict):
        raise ValueError(f"{path} must hold one JSON object. Restore the file or leave its folder out.")
    return meta


def _entries(meta: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    frames = meta.get("frames")
    if not isinstance(frames, list) or not frames or not all(isinstance(f, dict) for f in frames):
        raise ValueError(f"{path} lists no frames. Restore the file or leave its folder out.")
    return frames


def _number(value: Any, name: str, path: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ValueError(f"{path}: `{name}` must be a number > 0, not {value!r}. Add it to the file.")
    return float(value)


def _text(entry: dict[str, Any], name: str, path: Path) -> str:
    value = entry.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{path}: each frame needs `{name}`, but one has {value!r}. Mend the file.")
    return value
