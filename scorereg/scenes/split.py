"""Split into training and held-out views by the protocol of the few-view literature (RegNeRF's)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

__all__ = ["hold_out", "spread"]


def hold_out(count: int, views: int, *, path: Path) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Hold out every 8th view from 0 on, and spread the training views evenly over the others."""
    test = tuple(range(0, count, 8))
    rest = [i for i in range(count) if i % 8]
    return spread(rest, views, path=path), test


def spread(candidates: Sequence[int], views: int, *, path: Path) -> tuple[int, ...]:
    """Choose `views` candidates, at positions `round(linspace(0, len - 1, views))`, halves rounded to even.

    Raises:
        ValueError: If `views` is not at least 1 and at most the number of candidates.
    """
    if views < 1:
        raise ValueError(f"{path}: at least 1 training view is needed, but views={views}.")
    if views > len(candidates):
        raise ValueError(
            f"{path}: {views} training views are asked for, but only {len(candidates)} can be used for training; "
            f"give views={len(candidates)} or fewer."
        )
    return tuple(candidates[round(float(i))] for i in np.linspace(0, len(candidates) - 1, views))
