"""Read the photo, depth map and further maps of a frame, as float32 arrays with NaN where unknown."""

from pathlib import Path

import numpy as np

from scorereg.data.channels import COLOR, DEPTH
from scorereg.data.frames.frame import Frame, Planes
from scorereg.data.frames.resample import reduce_plane

__all__ = ["read_frame", "read_image"]

_SATURATED = 65535


def read_frame(frame: Frame, maps: tuple[str, ...] = (COLOR, DEPTH)) -> Planes:
    """Read some maps of a frame.

    Args:
        frame: The frame; one with a `reader` is read by that.
        maps: Names of the maps to read.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If the maps differ in size, or a depth map has no depth.
    """
    if frame.reader is not None:
        return frame.reader(frame, maps)
    color = read_image(frame.color, "RGB") if frame.color and COLOR in maps else None
    depth = read_image(frame.depth, None) if frame.depth and DEPTH in maps else None
    files = dict(frame.maps)
    others = {name: _read_map(files[name]) for name in maps if name in files}
    if color is not None and frame.resize and (depth is None or depth.ndim == 2):
        color = _resized(frame, color, _shape_of(frame.depth) if depth is None else depth.shape)
    metres = None if depth is None else _metres(frame, depth, color)
    _check_shapes(frame, color if depth is None else depth, others)
    return Planes(None if color is None else color.astype(np.float32), metres, others)


def read_image(path: Path, mode: str | None) -> np.ndarray:
    """Read an image as it is stored, or converted to a mode of Pillow's.

    Raises:
        OSError: If it cannot be read.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert(mode) if mode else image)
    except (OSError, SyntaxError) as error:  # Pillow reports some damage as a SyntaxError
        raise OSError(
            f"{path} cannot be read as an image ({error}). Restore the file or leave the frame out."
        ) from None


def _metres(frame: Frame, depth: np.ndarray, color: np.ndarray | None) -> np.ndarray:
    if depth.ndim != 2 or (color is not None and depth.shape != color.shape[:2]):
        beside = "" if color is None else f", but its photo {frame.file.name} has {color.shape[:2]}"
        raise ValueError(
            f"{frame.depth} has shape {depth.shape}{beside}. Bring both to one size, one depth value a pixel."
        )
    if depth.dtype == np.uint8:
        raise ValueError(
            f"{frame.depth} has 8 bits a pixel, which hold no depth in millimetres. Write it as 16-bit PNG."
        )
    measured = (depth > 0) & (depth != _SATURATED)
    if not measured.any():
        raise ValueError(f"{frame.depth} has no depth at all: every pixel is 0 or 65535. Leave the frame out.")
    return np.where(measured, depth.astype(np.float32), np.float32(np.nan)) * np.float32(frame.unit)


def _read_map(path: Path) -> np.ndarray:
    """Read a further map, `[h, w, k]` in [-1, 1]."""
    if path.suffix == ".npy":
        try:
            value = np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise OSError(f"{path} cannot be read as an array ({error}). Restore the file.") from None
        if value.dtype.kind != "f" or np.nanmax(np.abs(value)) > 1.001:
            raise ValueError(f"{path} must hold floats in [-1, 1], but has {value.dtype} up to {np.nanmax(value):g}.")
        value = value.astype(np.float32)
    else:
        raw = read_image(path, None)
        value = raw.astype(np.float32) / (255 if raw.dtype == np.uint8 else 65535) * 2 - 1
    if value.ndim not in (2, 3):
        raise ValueError(f"{path} has shape {value.shape}; a map has rows, columns and perhaps several values a pixel.")
    return value.reshape(*value.shape[:2], -1)


def _check_shapes(frame: Frame, like: np.ndarray | None, maps: dict[str, np.ndarray]) -> None:
    files = dict(frame.maps)
    for name, value in maps.items():
        like = value if like is None else like
        if value.shape[:2] != like.shape[:2]:
            raise ValueError(
                f"{files[name]} has shape {value.shape[:2]}, but {frame.file} has {like.shape[:2]}. Bring both to one "
                "size."
            )


def _shape_of(path: Path | None) -> tuple[int, ...]:
    """Rows and columns of an image, without decoding its pixels."""
    from PIL import Image

    assert path is not None, "only photos that come with depth maps are brought to their size"
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except (OSError, SyntaxError) as error:
        raise OSError(f"{path} cannot be read as an image ({error}). Restore it or leave the frame out.") from None


def _resized(frame: Frame, color: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Reduce the photo to the depth map's size; both must show the same field of view."""
    down, across = (there / here for there, here in zip(shape, color.shape[:2], strict=True))
    if max(down, across) > 1 or abs(down / across - 1) > 0.03:
        raise ValueError(
            f"{frame.depth} has shape {shape} and its photo {color.shape[:2]}: the photo must be the larger, and "
            "of the same proportions."
        )
    small = reduce_plane(color.astype(np.float32), down, across)
    return np.rint(small[: shape[0], : shape[1]])
