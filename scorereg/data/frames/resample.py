"""Reduction of images by exact area averages: an old pixel counts by the share of a new pixel that it covers."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch

__all__ = ["as_bytes", "reduce_known", "reduce_plane", "reduce_rows"]

_BLOCK = 64  # new pixels that are computed at once, from the old ones below them


def reduce_plane(value: np.ndarray, down: float, across: float) -> np.ndarray:
    """Reduce `[h, w]` or `[h, w, k]` float32 by factors <= 1 of rows and of columns; a last part of a pixel is cut."""
    flat = value.reshape(*value.shape[:2], -1)
    if down != 1:
        rows = [_product(weights, flat[old]) for weights, old in _weights(flat.shape[0], down)]
        flat = np.concatenate(rows)
    if across != 1:
        flat = flat.swapaxes(0, 1)
        columns = [_product(weights, flat[old]) for weights, old in _weights(flat.shape[0], across)]
        flat = np.concatenate(columns).swapaxes(0, 1)
    return flat.reshape(*flat.shape[:2], *value.shape[2:])


def reduce_rows(
    height: int, read: Callable[[slice], np.ndarray], down: float, across: float, *, most: int
) -> np.ndarray:
    """Reduce `[h, w, k]` as `reduce_plane` does, but for rounding, by a function that reads some of its rows.

    Args:
        height: Number of its rows.
        read: Returns the rows of a slice.
        down: Factor of rows.
        across: Factor of columns.
        most: Most rows that are read at once.
    """
    parts = []
    for weights, old in _weights(height, down):
        total: np.ndarray | float = 0.0
        for start in range(old.start, old.stop, most):
            stop = min(start + most, old.stop)
            part = weights[:, start - old.start : stop - old.start]
            total = total + _product(part, read(slice(start, stop)))
        parts.append(reduce_plane(np.asarray(total, np.float32), 1.0, across))
    return np.concatenate(parts)


def reduce_known(value: np.ndarray, down: float, across: float) -> np.ndarray:
    """Reduce `[h, w]` by averages over finite pixels; NaN where less than half of a new pixel is finite."""
    known = np.isfinite(value)
    if known.all():
        return reduce_plane(value, down, across)
    total = reduce_plane(np.where(known, value, np.float32(0)), down, across)
    share = reduce_plane(known.astype(np.float32), down, across)
    return np.where(share >= 0.5, total / np.maximum(share, 1e-6), np.float32(np.nan))


def as_bytes(color: np.ndarray) -> np.ndarray:
    """Round colours from 0 to 255 to uint8, a few rows at a time, as photos may have hundreds of megapixels."""
    rounded = np.empty(color.shape, np.uint8)
    for start in range(0, len(color), _BLOCK):
        rounded[start : start + _BLOCK] = np.clip(np.rint(color[start : start + _BLOCK]), 0, 255)
    return rounded


def _product(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The product of `[n, m]` and `[m, ...]`, by torch: NumPy's threads wait for each other on a busy machine."""
    flat = torch.from_numpy(np.ascontiguousarray(values)).flatten(1)
    return (torch.from_numpy(weights) @ flat).numpy().reshape(-1, *values.shape[1:])


def _weights(count: int, factor: float) -> Iterator[tuple[np.ndarray, slice]]:
    """Yield matrices of area averages for blocks of new pixels, rows summing to 1, and the old pixels they apply to."""
    new = int(count * factor + 1e-6)
    for start in range(0, new, _BLOCK):
        edges = np.arange(start, min(start + _BLOCK, new) + 1) / factor
        first, last = int(edges[0]), min(math.ceil(edges[-1]), count)
        old = np.arange(first, last)
        overlap = np.clip(np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old), 0, None)
        yield (overlap / overlap.sum(1, keepdims=True)).astype(np.float32), slice(first, last)
