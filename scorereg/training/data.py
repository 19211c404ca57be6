"""RGB-D frames in memory, reduced to several focal lengths, and random patches out of them.

    focal       pixels; a patch's field of view is set by it
    disparity   d_min / depth, raw: not yet limited to 1, so that a depth scale can still be applied
    level       a frame reduced to one focal length; all levels of all frames lie in one flat buffer

Reduction is by exact area averages, of colour as stored and of disparity over measured pixels only.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from scorereg.training.layouts import Frame

__all__ = ["Crops", "Pyramid", "load_pyramid"]

RAW_MAX = 2.0  # raw disparity is kept up to here: depth scales down to one half still reach 1
_STEPS = 16383  # stored steps per unit of raw disparity; -1 marks a pixel without depth
_SATURATED = 65535


@dataclass(frozen=True)
class Crops:
    """Random patches: colour in [0, 1], raw disparity, and where depth was measured."""

    color: Float[Tensor, "b 3 p p"]
    disparity: Float[Tensor, "b p p"]
    valid: Bool[Tensor, "b p p"]


@dataclass(frozen=True)
class Pyramid:
    """All levels of all frames, one after the other, row by row.

    Args:
        color: 8-bit colour of each pixel.
        disparity: Raw disparity of each pixel in steps of 1/16383, -1 where unknown.
        start: First pixel of each level.
        height: Rows of each level.
        width: Columns of each level.
    """

    color: Tensor
    disparity: Tensor
    start: Tensor
    height: Tensor
    width: Tensor

    def crop(self, count: int, size: int, generator: torch.Generator, *, flip: bool = True) -> Crops:
        """Draw patches: level, position and mirror image at random; at least half of each has depth.

        Raises:
            ValueError: If too few patches with depth are found.
        """
        kept: list[tuple[Tensor, Tensor]] = []
        found = 0
        for _ in range(50):
            index = self._pixels(count + count // 8 + 1, size, generator, flip=flip)
            disparity = self.disparity[index]
            good = (disparity >= 0).flatten(1).float().mean(1) >= 0.5
            kept.append((index[good], disparity[good]))
            found += int(good.sum())
            if found >= count:
                return self._crops(*(torch.cat(parts)[:count] for parts in zip(*kept, strict=True)))
        raise ValueError("hardly any patch has depth in half of its pixels. Leave out the frames with little depth.")

    def _pixels(self, count: int, size: int, generator: torch.Generator, *, flip: bool) -> Tensor:
        level = torch.randint(len(self.start), (count,), generator=generator)
        place = torch.rand(2, count, generator=generator, dtype=torch.float64)
        top = (place[0] * (self.height[level] - size + 1)).long()
        left = (place[1] * (self.width[level] - size + 1)).long()
        mirror = (torch.rand(count, generator=generator) < 0.5) & flip
        across = torch.arange(size).expand(count, size)
        across = torch.where(mirror[:, None], size - 1 - across, across) + left[:, None]
        down = torch.arange(size) + top[:, None]
        return (self.start[level, None] + down * self.width[level, None])[:, :, None] + across[:, None, :]

    def _crops(self, index: Tensor, disparity: Tensor) -> Crops:
        color = self.color[index].permute(0, 3, 1, 2).to(torch.float32) / 255
        return Crops(color, disparity.clamp_min(0).to(torch.float32) / _STEPS, disparity >= 0)


def load_pyramid(
    frames: list[Frame], *, size: int, focal: tuple[float, float], d_min: float, levels: int = 6
) -> Pyramid:
    """Read frames and reduce each to focal lengths between `focal[0]` and `focal[1]` pixels.

    Focal lengths are spaced evenly in their logarithm; a frame is never enlarged, so one with a short focal length
    gives fewer levels.

    Raises:
        OSError: If an image cannot be read.
        ValueError: If a photo and its depth map differ in size, a depth map is empty, or a frame is too small.
    """
    goals = torch.logspace(np.log10(focal[0]), np.log10(focal[1]), levels if focal[1] > focal[0] else 1).tolist()
    colors, disparities, shapes = [], [], []
    for frame in frames:
        color, raw = _read_frame(frame, d_min)
        count = len(shapes)
        for goal in goals:
            if goal > min(frame.focal) * 1.001:
                continue
            small, disparity = _reduce(color, raw, goal / frame.focal[1], goal / frame.focal[0])
            if min(disparity.shape) >= size:
                colors.append(small.reshape(-1, 3))
                disparities.append(disparity.reshape(-1))
                shapes.append(disparity.shape)
        if len(shapes) == count:
            raise ValueError(
                f"{frame.color} of {color.shape[1]}x{color.shape[0]} pixels and focal length {min(frame.focal):.0f} is "
                f"too small for {size}-pixel patches at focal lengths from {focal[0]:g}. Leave it out or lower --focal."
            )
    height, width = torch.tensor(shapes).unbind(1)
    start = torch.cat([torch.zeros(1, dtype=torch.long), (height * width).cumsum(0)[:-1]])
    return Pyramid(torch.cat(colors), torch.cat(disparities), start, height, width)


def _read_frame(frame: Frame, d_min: float) -> tuple[np.ndarray, np.ndarray]:
    """Colour as float32 and raw disparity, NaN where there is none."""
    color = _read_image(frame.color, "RGB")
    depth = _read_image(frame.depth, None)
    if depth.ndim != 2 or depth.shape != color.shape[:2]:
        raise ValueError(
            f"{frame.depth} has shape {depth.shape}, but its photo {frame.color.name} has {color.shape[:2]}. "
            "Bring both to one size, one depth value a pixel."
        )
    measured = (depth > 0) & (depth != _SATURATED)
    if not measured.any():
        raise ValueError(f"{frame.depth} has no depth at all: every pixel is 0 or 65535. Leave the frame out.")
    metres = np.where(measured, depth.astype(np.float32), np.float32(np.nan)) * np.float32(frame.unit)
    return color.astype(np.float32), np.minimum(d_min / metres, RAW_MAX)


def _read_image(path: Path, mode: str | None) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert(mode) if mode else image)
    except (OSError, SyntaxError) as error:  # Pillow reports some damage as a SyntaxError
        raise OSError(
            f"{path} cannot be read as an image ({error}). Restore the file or leave the frame out."
        ) from None


def _reduce(color: np.ndarray, raw: np.ndarray, down: float, across: float) -> tuple[Tensor, Tensor]:
    rows, columns = _area_weights(raw.shape[0], down), _area_weights(raw.shape[1], across)
    small = np.einsum("ab,bcd,ec->aed", rows, color, columns, optimize=True)
    valid = np.isfinite(raw)
    total = rows @ np.where(valid, raw, 0) @ columns.T
    share = rows @ valid.astype(np.float32) @ columns.T
    disparity = np.where(share >= 0.5, np.rint(total / np.maximum(share, 1e-6) * _STEPS), -1)
    return torch.from_numpy(np.rint(small).astype(np.uint8)), torch.from_numpy(disparity.astype(np.int16))


def _area_weights(count: int, factor: float) -> np.ndarray:
    """Matrix from `count` pixels to `floor(count * factor)`: each old pixel's share of a new one; rows sum to 1."""
    edges = np.arange(int(count * factor + 1e-6) + 1) / factor
    left, right = edges[:-1, None], edges[1:, None]
    old = np.arange(count)
    overlap = np.clip(np.minimum(right, old + 1) - np.maximum(left, old), 0, None)
    return (overlap / overlap.sum(1, keepdims=True)).astype(np.float32)
