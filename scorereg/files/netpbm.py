"""Depth maps of PFM (float) and PGM (16 bits), with the numbers as they are stored.

Pillow reads both, but stretches a PGM so that its largest number becomes 65535.
"""

import math
import re
from pathlib import Path

import numpy as np

from scorereg.files.pixels import check_pixels

__all__ = ["is_netpbm", "read_netpbm"]

_NUMBER = rb"(?:\s|#[^\n]*\n)+([-+.\deE]+)"  # comments may stand between
_HEADER = re.compile(rb"(P[f25F])" + _NUMBER * 3 + rb"\s")


def is_netpbm(start: bytes) -> bool:
    """Whether a file that begins so is a PFM, or a PGM."""
    return start[:2] in (b"Pf", b"PF", b"P5", b"P2") and start[2:3].isspace()


def read_netpbm(path: Path) -> np.ndarray:
    """Read a PFM or PGM of one channel, top row first, in the type that is stored.

    A PFM's rows are stored from the bottom; its third number is negative for little-endian floats, and its size is
    left out of account, as it is by Middlebury's and other readers.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is truncated, corrupt or of several channels.
    """
    data = path.read_bytes()
    header = _HEADER.match(data)
    if not header:
        raise ValueError(f"{path} has no header of a PFM or PGM file. Write it again.")
    kind, rest = header[1], data[header.end() :]
    try:
        width, height, scale = int(header[2]), int(header[3]), float(header[4])
    except ValueError:
        raise ValueError(f"{path}: width, height and scale must be numbers. Write the file again.") from None
    if kind == b"PF":
        raise ValueError(f"{path} is a PFM of three channels, but a depth map has one. Write it as Pf.")
    check_pixels(path, (width, height))
    if kind == b"P2":
        raw = _plain(path, rest, np.uint16 if scale > 255 else np.uint8)[: width * height]
    else:
        sort = ("u1" if scale <= 255 else ">u2") if kind == b"P5" else "<f4" if scale < 0 else ">f4"
        dtype = np.dtype(sort)
        count = min(width * height, len(rest) // dtype.itemsize)
        raw = np.frombuffer(rest, dtype, count)
    if len(raw) != width * height or not math.isfinite(scale):
        raise ValueError(f"{path} is truncated: {width}x{height} pixels, but {len(raw)} values. Copy it again.")
    image = raw.reshape(height, width)
    return image[::-1] if kind == b"Pf" else image


def _plain(path: Path, text: bytes, dtype: type[np.unsignedinteger]) -> np.ndarray:
    """Numbers that are written as text."""
    try:
        return np.array([int(word) for word in re.sub(rb"#[^\n]*", b"", text).split()], dtype)
    except (ValueError, OverflowError):
        raise ValueError(f"{path} holds words that are no numbers from 0 to 65535. Write it again.") from None
