"""The one reader of photos: of scenes, of training data and of plain folders of images.

Rules: the largest integer is 1 (255, or 65535 of 16 bits); floats are [0, 1] (TIFF) or linear light that gets sRGB's
curve and is clipped at 1 (EXR); transparency lies on white; EXIF's orientation is applied; grey becomes three equal
channels. CMYK, YCbCr, LAB, palettes and 1 bit become RGB. 16-bit colour is read with 8 bits. Profiles of colour (ICC)
are not applied. HEIC and EXR need the packages of `scorereg[formats]`. The first of several pictures is read, with a
warning. What a file is does not depend on its name.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from scorereg.files.exr import exr_head, read_exr_color
from scorereg.files.levels import levels_of, on_white
from scorereg.files.pixels import open_picture
from scorereg.files.said import FileWarning
from scorereg.files.sniff import picture_kind
from scorereg.files.turn import stored_box, turned
from scorereg.files.walk import is_litter

__all__ = ["IMAGE_SUFFIXES", "ImageHead", "Photo", "Size", "alike", "list_images", "orient", "read_head", "read_image"]

IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".hif", ".avif", ".exr", ".jfif",
    ".jpe", ".jp2", ".ppm", ".pgm", ".pnm", ".tga", ".gif",
)  # fmt: skip
"""Names of photos end so, in large or small letters."""

Size = tuple[int, int] | tuple[float, float]
"""Width and height."""

_STRIP = 4_000_000  # pixels that are converted at once
_ASPECT_TOLERANCE = 0.03
_DIM = 4096  # a 16-bit photo without larger numbers has 12 bits


@dataclass(frozen=True)
class ImageHead:
    """What a photo's header says.

    Args:
        stored: Width and height as stored.
        upright: Width and height of the photo when it is turned as EXIF says.
        orientation: EXIF's, 1 to 8.
        kind: Format: `"png"`, `"jpeg"`, `"exr"` and so on.
        bits: Bits of a value: 8, 16 or 32.
        grey: Whether there is one channel.
    """

    stored: tuple[int, int]
    upright: tuple[int, int]
    orientation: int
    kind: str
    bits: int = 8
    grey: bool = False

    @property
    def turned(self) -> bool:
        """Whether EXIF says that the photo is to be turned or mirrored."""
        return self.orientation != 1


@dataclass(frozen=True)
class Photo:
    """Pixels of a photo.

    Args:
        color: In [0, 1], transparency on white.
        alpha: In [0, 1], 0 where transparent; None for a photo that is opaque everywhere.
    """

    color: Float[np.ndarray, "h w 3"]
    alpha: Float[np.ndarray, "h w"] | None = None


def list_images(folder: Path) -> list[Path]:
    """The photos of a folder, by their names' ends, sorted; hidden files and those of the system are left out."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not is_litter(p.name))


def read_head(path: Path) -> ImageHead:
    """Read the size and the orientation of a photo; no pixel is decoded.

    Raises:
        OSError: If it is missing or cannot be opened.
        ValueError: If it is no picture, of a kind that is not read, or too large.
    """
    if picture_kind(path) == "exr":
        size, grey = exr_head(path)
        return ImageHead(size, size, 1, "exr", 32, grey)
    with open_picture(path, decode=False) as (_, facts):
        return ImageHead(facts.size, facts.upright, facts.orientation, facts.format.lower(), facts.bits, facts.grey)


def orient(path: Path, head: ImageHead, size: Size | None) -> bool:
    """Decide whether a photo is turned as EXIF says, by the size that its lens is for.

    It is if its upright sides have the proportions of the lens's size (within 3 %), or the lens has none; it is not if
    only the stored ones have. Where both have, as in a square photo or one that stands on its head, the size does not
    say it: the photo is turned, with a warning.

    Args:
        path: The photo, which errors name.
        head: Its header.
        size: Width and height that the lens is for, perhaps of another resolution.

    Raises:
        ValueError: If neither agrees.
    """
    if size is None or alike(head.upright, size):
        if size is not None and head.turned and alike(head.stored, size):
            words = (
                f"is turned as its EXIF says (orientation {head.orientation}). If its pose is that of the photo as "
                "it is stored, remove the entry."
            )
            warnings.warn(FileWarning(path, words), stacklevel=2)
        return True
    if alike(head.stored, size):
        return False
    width, height = head.stored
    both = "" if head.stored == head.upright else f" ({head.upright[0]}x{head.upright[1]} upright)"
    raise ValueError(
        f"{path} has {width}x{height} pixels{both}, but its lens is for {size[0]:g}x{size[1]:g}, of other proportions. "
        "Use the photo that the lens was found for, or correct the size."
    )


def read_image(path: Path, *, upright: bool = True, step: int = 1) -> Photo:
    """Read a photo to [0, 1], transparency on white.

    Memory beyond the result is that of the file's own 8- or 16-bit pixels.

    Args:
        path: The file.
        upright: Turn it as EXIF says; see `orient`.
        step: Reduce it by this whole factor: means over blocks, after transparency was put on white. Rows and columns
            that are left over at the bottom and right of the result are cut off.

    Raises:
        OSError: If it is missing or cannot be opened.
        ValueError: If it cannot be read truly; the line says why and what to do.
    """
    if picture_kind(path) == "exr":
        color, alpha = read_exr_color(path)
        box = stored_box(color.shape[1::-1], 1, step)
        color = _means(color[: box[3], : box[2]], step)
        alpha = None if alpha is None else _means(alpha[: box[3], : box[2]], step)
    else:
        color, alpha = _decode(path, upright, step)
    if alpha is not None and not alpha.any():
        words = "is transparent everywhere, so it is white. Remove its alpha channel?"
        warnings.warn(FileWarning(path, words), stacklevel=2)
    return Photo(color, None if alpha is None or bool((alpha == 1).all()) else alpha)


def _decode(path: Path, upright: bool, step: int) -> tuple[np.ndarray, np.ndarray | None]:
    with open_picture(path) as (image, facts):
        image.load()
        turn = facts.turn(upright=upright)
        left, top, right, bottom = stored_box(image.size, turn, step)
        rows = max(_STRIP // image.width // step, 1) * step
        color = np.empty(((bottom - top) // step, (right - left) // step, 3), np.float32)
        alpha, dim = None, facts.bits == 16
        for start in range(top, bottom, rows):
            strip = image.crop((left, start, right, min(start + rows, bottom)))
            part, clear = levels_of(path, strip, facts)
            here = slice((start - top) // step, (min(start + rows, bottom) - top) // step)
            color[here] = _means(on_white(part, clear), step)
            if clear is not None:
                alpha = np.empty(color.shape[:2], np.float32) if alpha is None else alpha
                alpha[here] = _means(clear, step)
            dim = dim and float(part.max()) < _DIM / 65535
    if dim and color.any():
        words = (
            f"has 16 bits, but its brightest pixel is {color.max() * 65535:.0f} of 65535: it is read as dark. If it "
            "holds 10 or 12 bits, multiply it to fill 16."
        )
        warnings.warn(FileWarning(path, words, "dark"), stacklevel=3)
    return turned(color, turn), None if alpha is None else turned(alpha, turn)


def _means(value: np.ndarray, step: int) -> np.ndarray:
    """Means over blocks of `step` x `step`, of which there are whole ones only."""
    if step == 1:
        return value
    height, width = (n // step for n in value.shape[:2])
    return value.reshape(height, step, width, step, *value.shape[2:]).mean((1, 3))


def alike(size: Size, other: Size) -> bool:
    """Whether two sizes have the same proportions, within 3 %."""
    return abs(size[0] * other[1] / (size[1] * other[0]) - 1) <= _ASPECT_TOLERANCE
