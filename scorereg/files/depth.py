"""The one reader of depth maps, of scenes and of training data.

    .npy, .npz            one array; of several in an .npz the one named depth or arr_0
    .exr                  channel Z, else one named depth, Y, R, or the only one
    .pfm                  little or big endian, rows from the bottom
    .png .pgm .tif .tiff  integers of 16 bits; TIFF also of 32, or floats

The content decides, not the name. Unknown are NaN, infinity, numbers <= 0 and floats of 1e9 and more (renderers write
1e10 where nothing was hit), and of integers also 65535 and the type's largest.
"""

import math
from pathlib import Path

import numpy as np
from jaxtyping import Float

from scorereg.files.arrays import npy_shape, read_npy, read_npz
from scorereg.files.exr import exr_head, read_exr_depth
from scorereg.files.netpbm import is_netpbm, read_netpbm
from scorereg.files.pixels import PICTURE_STARTS, Facts, Refused, check_pixels, open_picture
from scorereg.files.sniff import first_bytes, picture_kind

__all__ = ["DEPTH_SUFFIXES", "depth_size", "nearest", "read_depth"]

DEPTH_SUFFIXES = (".png", ".npy", ".npz", ".exr", ".pfm", ".tif", ".tiff", ".pgm")
"""Names of depth maps end so, in large or small letters."""

_SATURATED = 65535
_NOTHING_HIT = 1e9
_ASPECT_TOLERANCE = 0.03
_KINDS = "16-bit PNG, .npy, .npz, .exr, .pfm, .pgm, or .tiff of 16 bits or floats"


def read_depth(path: Path, unit: float, *, size: tuple[int, int] | None = None) -> Float[np.ndarray, "h w"]:
    """Read a depth map, times `unit`; NaN where depth is unknown.

    Args:
        path: The file.
        unit: Metres (or whatever the result is in) per unit of the file, floats included.
        size: Width and height to bring it to, by nearest neighbour; as it is, if not given.

    Raises:
        OSError: If it is missing or cannot be opened.
        ValueError: If it is of a kind that is not read, of 8 bits or several channels, corrupt, or of other proportions
            than `size` (beyond 3 %).
    """
    if not 0 < unit < math.inf:
        raise ValueError(f"the unit of {path} must be a number above 0, but is {unit!r}.")
    raw = _single(path, _stored(path))
    with np.errstate(over="ignore", invalid="ignore"):
        exact = raw.astype(np.float64)
        depth = (exact * unit).astype(np.float32)
    known = np.isfinite(depth) & (depth > 0)
    if raw.dtype.kind in "ui":
        known &= (raw != _SATURATED) & (raw != np.iinfo(raw.dtype).max)
    else:
        known &= exact < _NOTHING_HIT
    depth = np.where(known, depth, np.float32(np.nan))
    return depth if size is None else nearest(path, depth, size)


def depth_size(path: Path) -> tuple[int, int]:
    """Width and height of a depth map, from its header where it is a picture.

    Raises:
        OSError: If it is missing or cannot be opened.
        ValueError: If it cannot be read.
    """
    start = first_bytes(path)
    if start.startswith(b"\x76\x2f\x31\x01"):
        return exr_head(path)[0]
    if start.startswith(b"\x93NUMPY") and len(shape := _plane(npy_shape(path))) == 2:
        return shape[1], shape[0]
    if start.startswith((b"\x93NUMPY", b"PK")) or is_netpbm(start):
        height, width = _single(path, _stored(path)).shape
        return width, height
    _check_kind(path, start)
    with open_picture(path, decode=False) as (_, facts):
        return facts.upright


def nearest(path: Path, value: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bring `[h, w]` to another size by nearest neighbour.

    Args:
        path: The file that it was read from, which errors name.
        value: The map.
        size: New width and height, of the same proportions.

    Raises:
        ValueError: If the proportions differ by more than 3 %.
    """
    height, width = value.shape
    if (width, height) == size:
        return value
    if abs(width * size[1] / (height * size[0]) - 1) > _ASPECT_TOLERANCE:
        raise ValueError(
            f"{path} has {width}x{height} pixels, but its photo {size[0]}x{size[1]}, of other proportions: they do not "
            "show the same. Cut both to one field of view."
        )
    rows, columns = (
        np.minimum((np.arange(new) * 2 + 1) * old // (2 * new), old - 1)
        for new, old in ((size[1], height), (size[0], width))
    )
    return value[np.ix_(rows, columns)]


def _stored(path: Path) -> np.ndarray:
    """The numbers of a file as they are stored."""
    start = first_bytes(path)
    if start.startswith(b"\x93NUMPY"):
        return read_npy(path)
    if start.startswith(b"PK"):
        return _named(path, read_npz(path))
    if start.startswith(b"\x76\x2f\x31\x01"):
        return read_exr_depth(path)
    if is_netpbm(start):
        return read_netpbm(path)
    _check_kind(path, start)
    with open_picture(path) as (image, facts):
        _check_channels(path, facts)
        value = np.asarray(image)
        # Pillow has 32 signed bits for all longer integers
        return value.astype({"I;16S": np.int16, "I;16BS": np.int16, "I;32N": np.uint32}.get(facts.raw, value.dtype))


def _check_kind(path: Path, start: bytes) -> None:
    """Refuse what is none of the kinds that are read; what is named like a file of another reader is damaged."""
    picture_kind(path)
    suffix = path.suffix.lower()
    if start.startswith(PICTURE_STARTS):
        return
    if suffix in DEPTH_SUFFIXES:
        raise ValueError(
            f"{path} does not begin as a {suffix} file does: it is damaged or something else. Copy it again."
        )
    raise ValueError(f"{path} is of a kind that is not read as depth. Write it as {_KINDS}.")


def _check_channels(path: Path, facts: Facts) -> None:
    if not facts.grey:
        raise Refused(
            f"{path} has colours ({facts.mode}): depth that is encoded as colours is not read. Write one channel, as "
            f"{_KINDS}."
        )
    if facts.bits == 8:
        raise Refused(f"{path} has 8 bits a pixel, which hold no depth in millimetres. Write it as {_KINDS}.")


def _named(path: Path, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """The depth map of an archive."""
    names = list(arrays) if len(arrays) == 1 else [name for name in ("depth", "arr_0") if name in arrays]
    if not names:
        raise ValueError(
            f"{path} holds {', '.join(sorted(arrays)) or 'no arrays'}; depth is one array, or the one named depth or "
            "arr_0. Save it so."
        )
    return arrays[names[0]]


def _single(path: Path, raw: np.ndarray) -> np.ndarray:
    """A map of one channel, of numbers that can be depths."""
    shape, kind = raw.shape, raw.dtype
    raw = raw.reshape(_plane(shape))
    if raw.ndim != 2 or kind.kind not in "uif" or kind.itemsize == 1:
        raise ValueError(
            f"{path} has shape {shape} and type {kind}, but a depth map has one channel, rows and columns, of integers "
            f"of at least 16 bits or floats. Write it as {_KINDS}."
        )
    check_pixels(path, raw.shape[::-1])
    return raw


def _plane(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without axes of length 1 before the rows or after the columns."""
    while len(shape) > 2 and 1 in (shape[0], shape[-1]):
        shape = shape[1:] if shape[0] == 1 else shape[:-1]
    return shape
