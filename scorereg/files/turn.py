"""The eight orientations of EXIF: from the stored rows and columns of a photo to upright ones."""

import numpy as np

__all__ = ["inverse", "stored_box", "stored_rows", "turned", "turns_sides"]

_STEPS = {  # transpose; then reverse rows; then reverse columns
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def turns_sides(orientation: int) -> bool:
    """Whether an orientation makes width of height."""
    return _STEPS[orientation][0]


def inverse(orientation: int) -> int:
    """The orientation that undoes one."""
    return {6: 8, 8: 6}.get(orientation, orientation)


def turned(value: np.ndarray, orientation: int) -> np.ndarray:
    """Turn `[h, w]` or `[h, w, k]` as EXIF's orientation (1 to 8) says, to upright rows and columns."""
    transpose, rows, columns = _STEPS[orientation]
    value = np.swapaxes(value, 0, 1) if transpose else value
    return np.ascontiguousarray(value[:: -1 if rows else 1, :: -1 if columns else 1])


def stored_box(size: tuple[int, int], orientation: int, step: int) -> tuple[int, int, int, int]:
    """The part of an image of which whole blocks of `step` pixels remain after it was turned.

    Rows at the bottom and columns at the right of the turned image that fill no block are cut off.

    Args:
        size: Width and height before turning.
        orientation: EXIF's, 1 to 8.
        step: Side of a block.

    Returns:
        Left, top, right and bottom before turning, as Pillow takes them.
    """
    transpose, rows, columns = _STEPS[orientation]
    if transpose:  # the rows of the turned image are columns of the stored one
        rows, columns = columns, rows
    width, height = size
    across, down = width % step, height % step
    left, top = across if columns else 0, down if rows else 0
    return left, top, left + width - across, top + height - down


def stored_rows(size: tuple[int, int], orientation: int, rows: slice) -> tuple[int, int, int, int]:
    """The part of an image that becomes some rows of the turned one.

    Args:
        size: Width and height before turning.
        orientation: EXIF's, 1 to 8.
        rows: First row and the one after the last.

    Returns:
        Left, top, right and bottom before turning, as Pillow takes them.
    """
    transpose, reverse, _ = _STEPS[orientation]
    width, height = size
    count = width if transpose else height
    first, last = (count - rows.stop, count - rows.start) if reverse else (rows.start, rows.stop)
    return (first, 0, last, height) if transpose else (0, first, width, last)
