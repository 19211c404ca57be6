"""The one reader of masks: which pixels of a photo count."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Bool

from scorereg.files.arrays import read_npy
from scorereg.files.depth import nearest
from scorereg.files.images import alike, read_head, read_image
from scorereg.files.pixels import Facts, open_picture
from scorereg.files.said import FileWarning
from scorereg.files.sniff import first_bytes, picture_kind
from scorereg.files.turn import turned

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["read_mask"]

_SOFT = 0.05  # share of pixels that are neither clearly set nor clearly not


def read_mask(
    path: Path,
    *,
    size: tuple[int, int] | None = None,
    marks: Literal["kept", "left out"] = "kept",
    empty: bool = False,
) -> Bool[np.ndarray, "h w"]:
    """Read which pixels count.

    A pixel is set if its value is at least half of the largest that its type holds (1 for floats), or above 0 if no
    pixel is that bright, as in masks of 0 and 1 and in labels. Of colours the brightest channel is taken; where there
    is transparency, alpha alone.

    Args:
        path: A picture of any kind, or `.npy`.
        size: Width and height of the photo, to which it is brought by nearest neighbour.
        marks: What set pixels are: `"kept"`, or `"left out"`.
        empty: Whether it may leave no pixel, as the mask of an object that a photo does not show.

    Returns:
        True where a pixel counts.

    Raises:
        OSError: If it is missing or cannot be opened.
        ValueError: If it cannot be read, leaves no pixel and is not to, or has other proportions than `size`.
    """
    array = first_bytes(path).startswith(b"\x93NUMPY")
    value, full = _array(path) if array else _picture(path, size)
    marked = value >= full / 2
    if not marked.any():
        marked = value > 0
    elif float(((value > 0.1 * full) & (value < 0.9 * full)).mean()) > _SOFT:
        words = "is a mask with grey values: they count as set from half of white on."
        warnings.warn(FileWarning(path, words), stacklevel=2)
    keep = marked if marks == "kept" else ~marked
    keep = keep if size is None else nearest(path, keep, size)
    if not (empty or keep.any()):
        word = "is black" if marks == "kept" else "is white"
        raise ValueError(
            f"{path} {word} everywhere, so it leaves no pixel of its photo. Turn it round, or leave it out."
        )
    return keep


def _array(path: Path) -> tuple[np.ndarray, float]:
    """A `.npy` mask, and the largest value of its type."""
    value = np.squeeze(read_npy(path))
    if value.ndim != 2 or value.dtype.kind not in "buif":
        raise ValueError(f"{path} has shape {value.shape} and type {value.dtype}, but a mask has rows and columns.")
    if value.dtype.kind == "f":
        if np.isnan(value).any():
            raise ValueError(f"{path} holds NaN, but a mask has numbers from 0 to 1. Write it again.")
        return value, max(1.0, float(value.max()))
    return value, 1.0 if value.dtype.kind == "b" else float(np.iinfo(value.dtype).max)


def _picture(path: Path, size: tuple[int, int] | None) -> tuple[np.ndarray, float]:
    """A picture as a mask, and the largest value of its type."""
    upright = size is None or alike(read_head(path).upright, size)
    if picture_kind(path) == "exr":
        photo = read_image(path)
        return photo.color.max(-1) if photo.alpha is None else photo.alpha, 1.0
    with open_picture(path) as (image, facts):
        image.load()
        value, full = _brightness(image, facts)
        return turned(value, facts.turn(upright=upright)), full


def _brightness(image: "Image", facts: Facts) -> tuple[np.ndarray, float]:
    if image.mode in ("RGBA", "RGBa", "LA", "PA") or "transparency" in image.info:
        alpha = np.asarray(image.convert("RGBA"))[..., 3]
        if not (alpha == 255).all():
            return alpha, 255.0
    if facts.grey and image.mode != "L":
        value = np.asarray(image)
        return value, 65535.0 if facts.bits == 16 else float(max(value.max(), 1))
    color = np.asarray(image.convert("RGB"))
    bright = color.max(-1)
    if image.mode == "P" and (bright != color.min(-1)).any():  # labels, each with a colour of its own
        return bright > 0, 1.0
    return bright, 255.0
