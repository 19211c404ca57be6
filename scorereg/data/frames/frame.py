"""One frame of a data set: its files, its camera, and reading it.

A frame is of

    color     8 bits a channel
    depth     planar z in integer units of `unit` metres; 0 and 65535 mean that nothing was measured
    maps      anything else that has a value at each pixel: PNG of 8 or 16 bits, [0, max] meaning [-1, 1], or .npy
              in [-1, 1] as it is, NaN where unknown

and is read as float32, with NaN for what is unknown.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from scorereg.data.frames.resample import reduce_plane

__all__ = ["COLOR", "DEPTH", "Frame", "Planes", "maps_of", "read_frame", "read_image"]

COLOR, DEPTH = "color", "depth"
_SATURATED = 65535
_OWN = {"r": COLOR, "g": COLOR, "b": COLOR, "disparity": DEPTH, "nx": "normal", "ny": "normal", "nz": "normal"}


@dataclass(frozen=True)
class Frame:
    """Files of one view.

    Args:
        scene: Name of the folder that it is from, with its parent's.
        color: The photo; None where there is none.
        depth: The depth map, of the photo's size; None where there is none.
        focal: Horizontal and vertical focal length, in pixels; None where nobody knows it.
        unit: Metres per unit of the depth map.
        maps: Names and files of further maps.
        lens: Hypersim's `M_cam_from_uv`, row by row: depth is then the distance along rays.
        split: `"train"`, `"val"` or `"test"` where the data's authors say so.
        resize: Reduce the photo to the depth map's size, where the two were stored at different ones.
        shared: The focal length is that of the whole folder, so all its photos must have one size.
    """

    scene: str
    color: Path | None
    depth: Path | None
    focal: tuple[float, float] | None
    unit: float = 0.001
    maps: tuple[tuple[str, Path], ...] = ()
    lens: tuple[float, ...] | None = None
    split: str | None = None
    resize: bool = False
    shared: bool = False

    @property
    def file(self) -> Path:
        """The file that a frame is named by: its photo, or else its depth map."""
        path = self.color or self.depth
        assert path is not None, "a frame has a photo or a depth map"
        return path

    def factors(self, focal: float) -> tuple[float, float]:
        """How much rows and columns shrink to reach a focal length in pixels; 1 where that would enlarge them."""
        across, down = self.focal or (focal, focal)
        return min(focal / down, 1.0), min(focal / across, 1.0)


@dataclass(frozen=True)
class Planes:
    """What was read, at one size.

    Args:
        color: `[h, w, 3]`, 0 to 255.
        metres: `[h, w]`, planar depth, NaN where unknown.
        maps: `[h, w, k]` by name, in [-1, 1], NaN where unknown.
    """

    color: np.ndarray | None = None
    metres: np.ndarray | None = None
    maps: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        first = next(p for p in (self.color, self.metres, *self.maps.values()) if p is not None)
        return first.shape[0], first.shape[1]


def maps_of(channels: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the maps that some channels are made of.

    `r`, `g`, `b` are colour, `disparity` is depth, `nx`, `ny`, `nz` are the map `normal`; `NAME` is the one value of a
    map of that name, and `NAME.0`, `NAME.1` ... its values where it has several.
    """
    return tuple(dict.fromkeys(_OWN.get(name, name.split(".")[0]) for name in channels))


def read_frame(frame: Frame, maps: tuple[str, ...] = (COLOR, DEPTH)) -> Planes:
    """Read some maps of a frame.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If the maps differ in size, or there is no depth in a depth map.
    """
    if frame.lens is not None:
        from scorereg.data.frames.formats.hypersim import read_hypersim_frame

        return read_hypersim_frame(frame, maps)
    color = read_image(frame.color, "RGB") if frame.color and COLOR in maps else None
    depth = read_image(frame.depth, None) if frame.depth and DEPTH in maps else None
    files = dict(frame.maps)
    others = {name: _read_map(files[name]) for name in maps if name in files}
    if color is not None and frame.resize and (depth is None or depth.ndim == 2):
        color = _to_size_of(frame, color, _shape_of(frame.depth) if depth is None else depth.shape)
    if depth is None:
        return Planes(None if color is None else color.astype(np.float32), None, _fitting(frame, color, others))
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
    metres = np.where(measured, depth.astype(np.float32), np.float32(np.nan)) * np.float32(frame.unit)
    return Planes(None if color is None else color.astype(np.float32), metres, _fitting(frame, depth, others))


def read_image(path: Path, mode: str | None) -> np.ndarray:
    """Read an image as it is, or converted to a mode of Pillow's.

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


def _read_map(path: Path) -> np.ndarray:
    """A further map in [-1, 1], `[h, w, k]`."""
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


def _fitting(frame: Frame, like: np.ndarray | None, maps: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    files = dict(frame.maps)
    for name, value in maps.items():
        like = value if like is None else like
        if value.shape[:2] != like.shape[:2]:
            raise ValueError(
                f"{files[name]} has shape {value.shape[:2]}, but {frame.file} has {like.shape[:2]}. Bring both to one "
                "size."
            )
    return maps


def _shape_of(path: Path | None) -> tuple[int, ...]:
    """Rows and columns of an image whose pixels are not needed."""
    from PIL import Image

    assert path is not None, "only photos that come with depth maps are brought to their size"
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except (OSError, SyntaxError) as error:
        raise OSError(f"{path} cannot be read as an image ({error}). Restore it or leave the frame out.") from None


def _to_size_of(frame: Frame, color: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The photo reduced to the depth map's size; both must see the same."""
    down, across = (there / here for there, here in zip(shape, color.shape[:2], strict=True))
    if max(down, across) > 1 or abs(down / across - 1) > 0.03:
        raise ValueError(
            f"{frame.depth} has shape {shape} and its photo {color.shape[:2]}: the photo must be the larger, and "
            "of the same proportions."
        )
    small = reduce_plane(color.astype(np.float32), down, across)
    return np.rint(small[: shape[0], : shape[1]])
