"""Split into training and held-out views: the folder's own, or the protocol of the few-view literature (RegNeRF's)."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from scorereg.files import Listing

__all__ = ["hold_out", "split_listing", "spread", "with_split"]

_Views = tuple[int, ...]


def split_listing(listing: Listing, views: int, *, path: Path) -> tuple[_Views, _Views]:
    """Positions of training and held-out views: those that the folder lists, thinned to `views`, or by `hold_out`.

    Args:
        listing: The views of a folder.
        views: Number of training views.
        path: What errors name.

    Raises:
        ValueError: If there are fewer views for training.
    """
    if listing.train is not None and listing.test is not None:
        return spread(listing.train, views, path=path), listing.test
    parts = [view.split for view in listing.views]
    if "train" in parts and ("test" in parts or "val" in parts):
        held = "test" if "test" in parts else "val"
        train = [i for i, part in enumerate(parts) if part == "train"]
        return spread(train, views, path=path), tuple(i for i, part in enumerate(parts) if part == held)
    return hold_out(len(listing.views), views, path=path)


def with_split(listing: Listing, train: Sequence[int], test: Sequence[int]) -> Listing:
    """Return a listing with a split that someone chose, in place of its own.

    Args:
        listing: The views of a folder.
        train: Positions of the training views.
        test: Positions of the views that are held out.

    Raises:
        ValueError: If a position is none of the listing's, one is given twice, or its view has no pose.
    """
    both, count = (*train, *test), len(listing.views)
    if wrong := sorted({i for i in both if not 0 <= i < count}):
        raise ValueError(
            f"{listing.source}: the split names photo {wrong[0]} (from 0), but there are {count} photos. Is one "
            "missing?"
        )
    if twice := sorted({i for i in both if both.count(i) > 1}):
        raise ValueError(f"{listing.source}: the split names photo {twice[0]} (from 0) twice. Name each photo once.")
    if lost := [listing.views[i].file.name for i in both if listing.views[i].pose is None]:
        raise ValueError(f"{listing.source}: the split names {lost[0]}, which has no pose. Name another, or add it.")
    return replace(listing, train=tuple(train), test=tuple(test))


def hold_out(count: int, views: int, *, path: Path) -> tuple[_Views, _Views]:
    """Hold out every 8th view from 0 on, and spread the training views evenly over the others.

    Where there are as many views as are asked for, all are trained on and none is held out.
    """
    if count == views:
        return tuple(range(count)), ()
    if views > count:
        raise ValueError(
            f"{path}: {views} training views are asked for, but there are only {count} photos; give views={count} or "
            "fewer."
        )
    test = tuple(range(0, count, 8))
    rest = [i for i in range(count) if i % 8]
    if 0 < len(rest) < views:
        raise ValueError(
            f"{path}: {views} training views are asked for, but only {len(rest)} of {count} can be used for training "
            f"({len(test)} are held out); give views={len(rest)} or fewer, or views={count} to hold out none."
        )
    return spread(rest, views, path=path), test


def spread(candidates: Sequence[int], views: int, *, path: Path) -> _Views:
    """Choose `views` candidates, at positions `round(linspace(0, len - 1, views))`, halves rounded to even.

    Raises:
        ValueError: If `views` is not at least 1 and at most the number of candidates.
    """
    if views < 1:
        raise ValueError(f"{path}: at least 1 training view is needed, but views={views}.")
    if not candidates:
        raise ValueError(f"{path}: no photo is left for training; list some in `train_filenames`, or leave it out.")
    if views > len(candidates):
        raise ValueError(
            f"{path}: {views} training views are asked for, but only {len(candidates)} can be used for training; "
            f"give views={len(candidates)} or fewer."
        )
    return tuple(candidates[round(float(i))] for i in np.linspace(0, len(candidates) - 1, views))
