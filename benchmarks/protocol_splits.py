"""The splits of the few-view protocols: which photos are trained on, and which are held out."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scorereg.files.layouts.folders import natural
from scorereg.scenes.folder import list_views
from scorereg.scenes.split import split_listing

PROTOCOLS = ("llff", "dtu", "rooms")
SIZES = {"llff": (504, 378), "dtu": (400, 300), "rooms": None}  # width and height of the protocol's photos
DTU_TRAIN = (25, 22, 28, 40, 44, 48, 0, 8, 13)
DTU_EXCLUDED = (3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 36, 37, 38, 39)  # badly lit (RegNeRF)
DTU_PHOTOS = 49  # scans with 64 have the same places first

Split = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Job:
    """A fit that is asked for.

    Args:
        folder: The scene's folder.
        views: Number of training views.
        split: Positions of the training views and of those held out, in the order of the folder's listing.
        regularize: Terms of the fit, as of `scorereg fit`.
        seed: Its seed.
        steps: Its steps.
    """

    folder: Path
    views: int
    split: Split
    regularize: str
    seed: int
    steps: int

    @property
    def scene(self) -> str:
        """Name of the scene."""
        return self.folder.resolve().name

    def matches(self, row: dict) -> bool:
        """Whether a row of a table is of this fit."""
        return all(row.get(name) == getattr(self, name) for name in ("scene", "views", "regularize", "seed", "steps"))


def llff_split(count: int, views: int) -> Split:
    """Every 8th photo from 0 on is held out; of the rest those at `round(linspace(0, len - 1, views))` are trained on.

    Raises:
        ValueError: If there are too few photos.
    """
    test = tuple(range(0, count, 8))
    rest = [i for i in range(count) if i % 8]
    if not 1 <= views <= len(rest):
        raise ValueError(f"{views} training views are asked for, but {len(rest)} of {count} photos are for training.")
    return tuple(rest[round(float(i))] for i in np.linspace(0, len(rest) - 1, views)), test


def dtu_split(count: int, views: int) -> Split:
    """The first of nine training views in their order; held out are 25 of the 49, the same for any number of views.

    Raises:
        ValueError: If photos are missing, or other than 1 to 9 views are asked for.
    """
    if count < DTU_PHOTOS:
        raise ValueError(f"DTU's protocol counts the {DTU_PHOTOS} photos of a scan, but there are {count}.")
    if not 1 <= views <= len(DTU_TRAIN):
        raise ValueError(f"DTU's protocol has 1 to {len(DTU_TRAIN)} training views, but {views} are asked for.")
    test = tuple(i for i in range(DTU_PHOTOS) if i not in (*DTU_TRAIN, *DTU_EXCLUDED))
    return DTU_TRAIN[:views], test


def split_of(protocol: str, folder: Path, views: int) -> Split:
    """The split of a folder by a protocol; of rooms, and of any other folder with one, its own.

    Raises:
        ValueError: If the folder does not have the photos.
        OSError: If it cannot be read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are told when the scene is loaded
        listing = list_views(folder)
    if protocol == "rooms":
        posed = [i for i, view in enumerate(listing.views) if view.pose is not None]
        if len(posed) < len(listing.views):
            raise ValueError(f"{folder}: {len(listing.views) - len(posed)} photos have no pose. Remove them.")
        train, test = split_listing(listing, views, path=folder)
    else:
        names = [view.file.name for view in listing.views]  # by which the protocols count photos
        order = sorted(range(len(names)), key=lambda i: natural(names[i]) if protocol == "dtu" else names[i])
        try:
            found = (llff_split if protocol == "llff" else dtu_split)(len(names), views)
        except ValueError as error:
            raise ValueError(f"{folder}: {error}") from None
        train, test = (tuple(order[i] for i in part) for part in found)
    if not test:
        raise ValueError(f"{folder}: no photo is held out, so nothing can be measured. Give fewer --views.")
    return train, test


def jobs_of(
    protocol: str,
    folders: Sequence[Path],
    views: Sequence[int],
    kinds: Sequence[str],
    seeds: Sequence[int],
    steps: int,
) -> list[Job]:
    """All fits that are asked for; every split is checked before the first of them.

    Raises:
        ValueError: If two folders have one name, or a split cannot be made.
        OSError: If a folder cannot be read.
    """
    names = [folder.resolve().name for folder in folders]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"two folders are called {twice[0]}, so their rows could not be told apart. Rename one.")
    splits = {(folder, count): split_of(protocol, folder, count) for folder in folders for count in views}
    return [
        Job(folder, count, splits[folder, count], kind, seed, steps)
        for seed in seeds
        for folder in folders
        for count in views
        for kind in kinds
    ]
