"""Layouts with a list of frames in JSON: `transforms.json` of nerfstudio and `frames.json` of rendered rooms."""

from pathlib import Path
from typing import Any

from scorereg.data.bad_frames import BadFrames
from scorereg.data.frames.frame import Frame
from scorereg.files.layouts.parsing import MILLIMETRE, entries, load_json, number, scene_name, text

__all__ = ["find_rooms", "find_transforms"]


def find_transforms(folder: Path, bad: BadFrames) -> list[Frame]:
    """Find the frames of `transforms.json`: `file_path`, `depth_file_path`, `fl_x`; `NAME_file_path` is a map `NAME`.

    A frame may have a photo or a depth map alone.
    """
    path = folder / "transforms.json"
    meta = load_json(path)
    unit = number(meta.get("depth_unit_scale_factor", MILLIMETRE), "depth_unit_scale_factor", path)
    frames = []
    for entry in entries(meta, path):
        focal_x = number(entry.get("fl_x", meta.get("fl_x")), "fl_x", path)
        focal_y = number(entry.get("fl_y", meta.get("fl_y", focal_x)), "fl_y", path)
        alone = "depth_file_path" in entry and "file_path" not in entry
        color = None if alone else folder / text(entry, "file_path", path)
        depth = folder / text(entry, "depth_file_path", path) if "depth_file_path" in entry else None
        focal, shared = (focal_x, focal_y), "fl_x" not in entry
        frames.append(Frame(scene_name(folder), color, depth, focal, unit, _maps(folder, entry), shared=shared))
    return frames


def find_rooms(folder: Path, bad: BadFrames) -> list[Frame]:
    """Find the frames of `frames.json`: `image`, `depth`, `fx`."""
    path = folder / "frames.json"
    meta = load_json(path)
    unit = number(meta.get("depth_unit_m", MILLIMETRE), "depth_unit_m", path)
    frames = []
    for entry in entries(meta, path):
        focal_x = number(entry.get("fx"), "fx", path)
        focal_y = number(entry.get("fy", focal_x), "fy", path)
        color, depth = text(entry, "image", path), text(entry, "depth", path)
        maps = _maps(folder, entry)
        frames.append(Frame(scene_name(folder), folder / color, folder / depth, (focal_x, focal_y), unit, maps))
    return frames


def _maps(folder: Path, entry: dict[str, Any]) -> tuple[tuple[str, Path], ...]:
    end = "_file_path"
    names = sorted(key for key in entry if key.endswith(end) and key != f"depth{end}")
    return tuple((key.removesuffix(end), folder / str(entry[key])) for key in names)
