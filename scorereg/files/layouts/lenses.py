"""Camera matrices of text files as lenses, and the size of photo that a matrix is for."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from scorereg.files.layouts.parsing import read_table
from scorereg.files.view import Lens

__all__ = ["NoCamera", "lens_of_matrix", "read_lens", "scaled_words", "shifted", "sized_for"]

_HALF = 0.5  # the matrices of data sets take the middle of the first pixel for (0, 0), which is (0.5, 0.5) here
_EXACT = 0.01  # pixels
_OFF = 0.3  # of half a side: how far from the photo's middle the center may be


class NoCamera(FileNotFoundError):
    """Nothing says what the lens of a folder's photos is: they may be used where that does not matter."""


def read_lens(
    path: Path, missing: str, photo: tuple[float, float] | None, *, others: Sequence[tuple[float, float]] = ()
) -> Lens:
    """Read a camera matrix, 3x3 or 4x4.

    Args:
        path: The file.
        missing: End of the error if there is no such file: who needs it.
        photo: Width and height of a photo, if it can be read.
        others: Other sizes that the matrix may be for; see `sized_for`.

    Raises:
        OSError: If the file is missing or cannot be read.
        ValueError: If it holds something else, or is for photos of another size.
    """
    if not path.is_file():
        raise NoCamera(f"{path} is missing: {missing}")
    table = read_table(path, "a 3x3 camera matrix with focal lengths > 0, in pixels")
    if table.size not in (9, 12, 16):
        raise ValueError(f"{path} must hold a 3x3 camera matrix, but has {table.size} numbers. Correct the file.")
    matrix = table.reshape(-1, 3 if table.size == 9 else 4)
    size = sized_for((matrix[0, 2], matrix[1, 2]), photo, others, path) if photo is not None else None
    return lens_of_matrix(matrix, path, size)


def lens_of_matrix(matrix: Float[np.ndarray, "r c"], path: Path, size: tuple[float, float] | None) -> Lens:
    """Return the lens of a camera matrix whose first pixel's middle is (0, 0).

    Args:
        matrix: The matrix.
        path: File that errors name.
        size: Width and height that it is for; None if unknown.

    Raises:
        ValueError: If a focal length is not above 0, or a number is not finite.
    """
    focal, center = (float(matrix[0, 0]), float(matrix[1, 1])), (float(matrix[0, 2]), float(matrix[1, 2]))
    if not (np.isfinite([*focal, *center]).all() and min(focal) > 0):
        raise ValueError(
            f"{path} must hold a 3x3 camera matrix with focal lengths > 0, in pixels, but has fx {focal[0]:g}, "
            f"fy {focal[1]:g}, cx {center[0]:g}, cy {center[1]:g}. Correct the file."
        )
    return Lens(focal, shifted(center, size), size=size)


def shifted(center: tuple[float, float], size: tuple[float, float] | None) -> tuple[float, float]:
    """Return a center counted from the first pixel's corner, given one from its middle.

    One of exactly half of the width and height is no measurement: it is the middle of the photo, and stays.
    """
    if size is not None and max(abs(2 * c - side) for c, side in zip(center, size, strict=True)) < _EXACT:
        return size[0] / 2, size[1] / 2
    return center[0] + _HALF, center[1] + _HALF


def scaled_words(path: Path, size: tuple[float, float], photo: tuple[float, float]) -> tuple[str, ...]:
    """Return the line that cameras are scaled to photos of another size; nothing if the sizes agree."""
    if size == photo:
        return ()
    here, there = ("{:g}x{:g}".format(*sides) for sides in (photo, size))
    return (f"{path}: the cameras are for {there} pixels, scaled to photos of {here}",)


def sized_for(
    center: tuple[float, float], photo: tuple[float, float], others: Sequence[tuple[float, float]], path: Path
) -> tuple[float, float]:
    """Return the width and height that a camera matrix is for, told by its center, which lies near their middle.

    Args:
        center: Center of the camera, in pixels.
        photo: Width and height of a photo.
        others: Other sizes that it may be for; those of other proportions than the photo's are none.
        path: File that errors name.

    Raises:
        ValueError: If the center is in the middle of none of them.
    """
    alike = [size for size in others if abs(size[0] * photo[1] / (size[1] * photo[0]) - 1) < 0.03]
    sizes = [(float(photo[0]), float(photo[1])), *alike]
    off = [max(abs(2 * c / side - 1) for c, side in zip(center, size, strict=True)) for size in sizes]
    best = min(range(len(sizes)), key=off.__getitem__)
    if off[best] > _OFF:
        raise ValueError(
            f"{path}: the cameras' center is ({center[0]:.0f}, {center[1]:.0f}), not near the middle of photos of "
            f"{photo[0]:g}x{photo[1]:g} pixels: they are for another size. Use the photos that they were made for, or "
            "write intrinsics.json with fl_x, cx, cy, w and h."
        )
    return sizes[best]
