"""Frames without the distortion of their lens."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool

from scorereg.data.frames.frame import Planes
from scorereg.files.lens import undistort
from scorereg.files.view import Lens

__all__ = ["cut", "straight"]

_SAMPLES = 1024  # a side of which pixels are looked at, to find the margins


def straight(planes: Planes, lens: Lens, path: Path) -> tuple[Planes, tuple[float, float]]:
    """Return a frame as a pinhole of the lens's focal length and center would show it.

    Colours are interpolated; depth and further maps are taken from the nearest pixel, and are NaN where the lens shows
    nothing. Colours there are those of the border.

    Args:
        planes: Maps of a frame, which may differ in size.
        lens: The lens of all of them.
        path: The file that errors name.

    Returns:
        The maps, and what `cut` takes off so that only colours are left that the lens shows: shares of the height and
        of the width, at each of two opposite sides.

    Raises:
        ValueError: If hardly anything would be left.
    """
    color, margins = planes.color, (0.0, 0.0)
    if color is not None:
        bent, covered = undistort(torch.from_numpy(color), lens)
        color, margins = bent.numpy(), _margins(covered.numpy(), path)
    metres = None if planes.metres is None else _nearest(planes.metres[..., None], lens)[..., 0]
    return Planes(color, metres, {name: _nearest(value, lens) for name, value in planes.maps.items()}), margins


def cut(planes: Planes, margins: tuple[float, float]) -> Planes:
    """Take margins off all maps of a frame: shares of the height and of the width, at each of two opposite sides."""

    def inside(value: np.ndarray) -> np.ndarray:
        top, left = (int(np.ceil(share * n)) for share, n in zip(margins, value.shape, strict=False))
        return np.ascontiguousarray(value[top : value.shape[0] - top, left : value.shape[1] - left])

    color, metres = (None if value is None else inside(value) for value in (planes.color, planes.metres))
    return Planes(color, metres, {name: inside(value) for name, value in planes.maps.items()})


def _nearest(value: np.ndarray, lens: Lens) -> np.ndarray:
    bent, covered = undistort(torch.from_numpy(value), lens, mode="nearest")
    return np.where(covered.numpy()[..., None], bent.numpy(), np.float32(np.nan))


def _margins(covered: Bool[np.ndarray, "h w"], path: Path) -> tuple[float, float]:
    covered = covered[:: -(-covered.shape[0] // _SAMPLES), :: -(-covered.shape[1] // _SAMPLES)]
    height, width = covered.shape
    top = left = 0
    while not (inside := covered[top : height - top, left : width - left]).all():
        if top > height / 4 or left > width / 4:
            raise ValueError(
                f"the lens of {path} shows less than half of a pinhole's photo. Undistort it, or leave it out."
            )
        if (inside[0] & inside[-1]).mean() <= (inside[:, 0] & inside[:, -1]).mean():
            top += 1
        else:
            left += 1
    return top / height, left / width
