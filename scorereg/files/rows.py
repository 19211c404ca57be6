"""The rows of a photo, a few at a time: one of hundreds of megapixels is reduced without all its floats in memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from scorereg.files.levels import levels_of, on_white
from scorereg.files.pixels import open_picture
from scorereg.files.sniff import picture_kind
from scorereg.files.turn import stored_rows, turned

__all__ = ["photo_rows"]


@contextmanager
def photo_rows(path: Path, *, upright: bool) -> Iterator[tuple[tuple[int, int], Callable[[slice], np.ndarray]] | None]:
    """Open a photo of 8 bits; memory is that of its own pixels.

    Args:
        path: The file.
        upright: Turn it as EXIF says.

    Yields:
        Its height and width, and a function that returns some of its rows as `[h, w, 3]` in [0, 1], as `read_image`
        does; None for kinds that are not read by rows, which are EXR and those of more bits.

    Raises:
        OSError: If it is missing or cannot be opened.
        ValueError: If it cannot be read truly.
    """
    if picture_kind(path) == "exr":
        yield None
        return
    with open_picture(path) as (image, facts):
        if facts.bits != 8:
            yield None
            return
        image.load()
        turn, size = facts.turn(upright=upright), image.size

        def read(rows: slice) -> np.ndarray:
            color, clear = levels_of(path, image.crop(stored_rows(size, turn, rows)), facts)
            return turned(on_white(color, clear), turn)

        width, height = facts.upright if upright else facts.size
        yield (height, width), read
