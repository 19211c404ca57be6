"""Read the photo, depth map and further maps of a frame, as float32 arrays with NaN where unknown."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float

from scorereg.data.channels import COLOR, DEPTH
from scorereg.data.frames.frame import Frame, Planes, common_size
from scorereg.data.frames.resample import reduce_known, reduce_plane, reduce_rows
from scorereg.data.frames.straight import cut, straight
from scorereg.files.arrays import read_npy
from scorereg.files.depth import depth_size, nearest, read_depth
from scorereg.files.images import alike, read_head, read_image
from scorereg.files.pixels import Refused, open_picture
from scorereg.files.rows import photo_rows
from scorereg.files.sniff import first_bytes

__all__ = ["read_frame", "read_reduced"]

_LARGE = 24_000_000  # pixels of photos that are reduced as they are read
_AT_ONCE = 4_000_000  # pixels of them that are floats at a time


def read_frame(frame: Frame, maps: tuple[str, ...] = (COLOR, DEPTH)) -> Planes:
    """Read some maps of a frame, brought to one size and without the lens's distortion.

    Photos and further maps are reduced by area averages; depth is taken from the nearest pixel. Sides of a photo that a
    pinhole would show and its lens does not are cut off.

    Args:
        frame: The frame; one with a `reader` is read by that.
        maps: Names of the maps to read.

    Raises:
        OSError: If a file is missing or cannot be opened.
        ValueError: If a file cannot be read, the maps differ in proportions, or a depth map has no depth.
    """
    if frame.reader is not None:
        return frame.reader(frame, maps)
    files = dict(frame.maps)
    color = _color(frame) if frame.color and COLOR in maps else None
    depth = _metres(frame.depth, frame.unit) if frame.depth and DEPTH in maps else None
    planes = Planes(color, depth, {name: _read_map(files[name]) for name in maps if name in files})
    if frame.bent is None:
        return _one_size(frame, planes)
    planes, margins = straight(planes, frame.bent, frame.file)
    return cut(_one_size(frame, planes), margins)


def read_reduced(frame: Frame, focal: float) -> Float[np.ndarray, "h w 3"] | None:
    """Read a large photo reduced to a focal length, for a frame of which nothing else is read.

    Returns:
        Values from 0 to 255; None for a frame that `read_frame` has to read: of a small photo or one that is not
        reduced, of a lens with distortion, or of another size than its photo.

    Raises:
        OSError: As `read_frame`.
        ValueError: As `read_frame`.
    """
    down, across = frame.factors(focal)
    alone = frame.color is not None and frame.reader is None and frame.bent is None and frame.size is None
    if not alone or frame.resize or max(down, across) >= 1:
        return None
    return _reduced(frame, lambda height, width: (down, across))


def _color(frame: Frame) -> Float[np.ndarray, "h w 3"]:
    """A photo with values from 0 to 255; those of 8 bits are whole numbers, but where it is reduced at once."""
    assert frame.color is not None
    size = frame.size
    if size is not None and frame.bent is None:
        color = _reduced(frame, lambda height, width: (size[1] / height, size[0] / width))
        if color is not None:
            return color
    color = read_image(frame.color, upright=frame.upright).color
    color *= 255
    return color


def _reduced(frame: Frame, factors: Callable[[int, int], tuple[float, float]]) -> np.ndarray | None:
    """A large photo reduced by factors of rows and columns, of its height and width, as it is read."""
    assert frame.color is not None
    if np.prod(read_head(frame.color).stored) <= _LARGE:
        return None
    with photo_rows(frame.color, upright=frame.upright) as found:
        if found is None:
            return None
        (height, width), read = found
        down, across = factors(height, width)
        if max(down, across) > 1 or not alike((width, height), (across * width, down * height)):
            return None
        most = max(_AT_ONCE // width, 1)
        return reduce_rows(height, lambda rows: read(rows) * np.float32(255), down, across, most=most)


def _metres(path: Path, unit: float) -> Float[np.ndarray, "h w"]:
    metres = read_depth(path, unit)
    if not np.isfinite(metres).any():
        raise ValueError(f"{path} has no depth at all: every pixel is 0, 65535 or not finite. Leave the frame out.")
    return metres


def _read_map(path: Path) -> Float[np.ndarray, "h w k"]:
    """Read a further map, in [-1, 1]."""
    if first_bytes(path).startswith(b"\x93NUMPY"):
        value = read_npy(path)
        full = None if value.dtype.kind == "f" else 0
    else:
        with open_picture(path) as (image, facts):
            if facts.bits == 32 and facts.mode != "F":
                raise Refused(f"{path} has integers of 32 bits, but a map has 8 or 16, or floats. Write it again.")
            value = np.asarray(image.convert("RGB") if image.mode == "P" else image)
            full = None if facts.mode == "F" else 1 if facts.mode == "1" else 255 if value.dtype == np.uint8 else 65535
    if value.ndim not in (2, 3) or not value.size:
        raise ValueError(f"{path} has shape {value.shape}; a map has rows, columns and perhaps several values a pixel.")
    if full:
        value = value.astype(np.float32) / full * 2 - 1
    elif full == 0 or not -1.001 <= np.nanmin(value) <= np.nanmax(value) <= 1.001:
        raise ValueError(f"{path} must hold floats in [-1, 1], but has {value.dtype} up to {np.nanmax(value):g}.")
    return value.astype(np.float32).reshape(*value.shape[:2], -1)


def _one_size(frame: Frame, planes: Planes) -> Planes:
    """Bring all maps to the frame's size, or else to the smaller of photo and depth map."""
    color, depth = planes.color, planes.metres
    size = frame.size
    if size is None:
        known = None if depth is None else depth.shape[1::-1]
        if depth is None and frame.resize and frame.depth is not None:
            known = depth_size(frame.depth)
        size = common_size(None if color is None else color.shape[1::-1], known)
    files = dict(frame.maps)
    if size is None and planes.maps:
        size = next(iter(planes.maps.values())).shape[1::-1]
    assert size is not None, "something was read"
    if color is not None:
        color = _resized(color, size, frame.file)
    if depth is not None and frame.depth is not None:
        depth = nearest(frame.depth, depth, size)
    return Planes(color, depth, {name: _resized(value, size, files[name]) for name, value in planes.maps.items()})


def _resized(value: np.ndarray, size: tuple[int, int], path: Path) -> np.ndarray:
    """Reduce `[h, w, k]` to a width and height of the same proportions; unknown pixels stay so."""
    height, width = value.shape[:2]
    if (width, height) == size:
        return value
    if size[0] > width or size[1] > height or not alike((width, height), size):
        raise ValueError(
            f"{path} has {width}x{height} pixels, but the others of its frame have {size[0]}x{size[1]}: it must "
            "have as many or more, of the same proportions. Bring both to one size."
        )
    down, across = size[1] / height, size[0] / width
    if np.isfinite(value).all():
        return reduce_plane(value, down, across)
    parts = [reduce_known(np.ascontiguousarray(value[..., k]), down, across) for k in range(value.shape[2])]
    return np.stack(parts, -1)
