"""Reduction of images by exact area averages: an old pixel counts by the share of a new pixel that it covers."""

import numpy as np

__all__ = ["area_weights", "reduce_known", "reduce_plane"]


def area_weights(count: int, factor: float) -> np.ndarray:
    """Return the matrix of area averages from `count` pixels to `floor(count * factor)`; its rows sum to 1."""
    edges = np.arange(int(count * factor + 1e-6) + 1) / factor
    left, right = edges[:-1, None], edges[1:, None]
    old = np.arange(count)
    overlap = np.clip(np.minimum(right, old + 1) - np.maximum(left, old), 0, None)
    return (overlap / overlap.sum(1, keepdims=True)).astype(np.float32)


def reduce_plane(value: np.ndarray, down: float, across: float) -> np.ndarray:
    """Reduce `[h, w]` or `[h, w, k]` float32 by factors <= 1 of rows and of columns."""
    rows, columns = area_weights(value.shape[0], down), area_weights(value.shape[1], across)
    flat = value.reshape(value.shape[0], -1)
    half = (rows @ flat).reshape(len(rows), value.shape[1], -1)
    return np.matmul(columns, half).reshape(len(rows), len(columns), *value.shape[2:])


def reduce_known(value: np.ndarray, down: float, across: float) -> np.ndarray:
    """Reduce `[h, w]` by averages over finite pixels; NaN where less than half of a new pixel is finite."""
    known = np.isfinite(value)
    if known.all():
        return reduce_plane(value, down, across)
    total = reduce_plane(np.where(known, value, np.float32(0)), down, across)
    share = reduce_plane(known.astype(np.float32), down, across)
    return np.where(share >= 0.5, total / np.maximum(share, 1e-6), np.float32(np.nan))
