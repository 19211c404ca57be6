"""SDFStudio's `meta_data.json`: frames with `rgb_path`, `intrinsics`, `camtoworld` (OpenCV's axes), masks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scorereg._io import read_json
from scorereg.files.images import IMAGE_SUFFIXES
from scorereg.files.layouts.parsing import Bad, raise_it
from scorereg.files.layouts.poses import object_words
from scorereg.files.layouts.transforms_frame import file_name, matrix_of
from scorereg.files.names import Names, shown
from scorereg.files.text import number_in
from scorereg.files.view import Lens, Listing, View

__all__ = ["META", "read_sdfstudio"]

META = "meta_data.json"


def read_sdfstudio(folder: Path, bad: Bad = raise_it) -> Listing:
    """Read the photos, lenses, poses and masks of `meta_data.json`; its depth maps are estimates, so they are left out.

    Args:
        folder: The folder.
        bad: Is given the error of a frame that cannot be used.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is broken.
    """
    path = folder / META
    meta, names = read_json(path, "Write it again."), Names(folder, path)
    frames = meta.get("frames")
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise ValueError(f"{path}: `frames` must be a list of at least one frame; write the file again.")
    size = number_in(meta, "width", str(path)), number_in(meta, "height", str(path))
    views = []
    for entry in frames:
        try:
            views.append(_view(folder, path, entry, size, names))
        except (OSError, ValueError) as error:
            bad(error)
    depths = any(entry.get(key) for entry in frames for key in ("mono_depth_path", "sensor_depth_path"))
    said = [f"{path}: its depth maps are not read: their unit is not known."] if depths else []
    if any(view.object_mask for view in views):
        said += object_words(path)
    return Listing(path, tuple(views), said=(*said, *names.said), axes="opencv")


def _view(
    folder: Path, path: Path, entry: Mapping[str, Any], size: tuple[float | None, float | None], names: Names
) -> View:
    written = file_name(entry, ("rgb_path",), str(path))
    if not written:
        raise ValueError(f"{path}: a frame has no `rgb_path`; name its image.")
    color, _ = names.find(written, IMAGE_SUFFIXES)
    name = f"{path}, frame {shown(color, folder)}"
    k = matrix_of(_wide(entry.get("intrinsics")), "intrinsics", name)
    masks = [file_name(entry, (key,), name) for key in ("mask_path", "foreground_mask")]
    mask, outline = (names.find(file, IMAGE_SUFFIXES, unlike=color)[0] if file else None for file in masks)
    width, height = size
    if width is None or height is None or min(width, height, k[0], k[5]) <= 0:
        raise ValueError(f"{name}: focal lengths, `width` and `height` must be numbers above 0; correct the file.")
    return View(
        color,
        mask=mask,
        object_mask=outline,
        lens=Lens((k[0], k[5]), (k[2], k[6]), size=(width, height)),
        pose=matrix_of(entry.get("camtoworld"), "camtoworld", name),
    )


def _wide(value: Any) -> Any:
    """A 3x3 matrix as one of 3x4; others as they are."""
    square = isinstance(value, list) and len(value) == 3 and all(isinstance(r, list) and len(r) == 3 for r in value)
    return [[*row, 0.0] for row in value] if square else value
