"""DTU's own text files of projections, beside photos that were rectified, in seven lights.

pos_001.txt               3x4, world in millimetres to pixels of 1600x1200; in the scan's folder, in cal18/ or
                          Calibration/cal18/ of it, or in Calibration/cal18/ beside Rectified/, which holds the scans
rect_001_3_r5000.png      photo 1 in the fourth light; or 000.png, 001.png, ...
"""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from scorereg.files.images import list_images
from scorereg.files.layouts.dtu_views import listing_of, photo_folder
from scorereg.files.layouts.parsing import Bad, raise_it, read_table
from scorereg.files.view import Listing

__all__ = ["has_projections", "read_projections"]

_PLACES = ("", "cal18", "cal", "calib", "calibration", "Calibration/cal18", "Calibration", "pos", "cameras")
_ABOVE = ("Calibration/cal18", "cal18")
_POS = re.compile(r"pos_?([0-9]{1,18})", re.IGNORECASE)
_RECTIFIED = re.compile(r"rect_?[0-9]+", re.IGNORECASE)
_RANGE = (425.0, 937.0)  # millimetres, of all scans


def has_projections(folder: Path) -> bool:
    """Whether a folder has text files of projections."""
    return _texts(folder) is not None


def read_projections(folder: Path, bad: Bad = raise_it) -> Listing:
    """Read `pos_001.txt` and the photos of the same numbers: of several in other light, the fourth (`_3_`).

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a matrix is not usable, or photos and matrices do not belong together.
    """
    texts = _texts(folder) or {}
    photos, said = _numbered(photo_folder(folder))
    names = sorted(set(texts) & set(photos))
    if names != sorted(photos) and len(texts) == len(photos) and min(photos) == min(texts) - 1:
        names = sorted(photos)  # photos from 0 on, matrices from 1 on
        texts = {number - 1: path for number, path in texts.items()}
        said += (
            f"{folder}: photos begin with number {names[0]}, pos_*.txt with {names[0] + 1}; they are paired in order",
        )
    for number in sorted(set(photos) - set(names)):
        bad(FileNotFoundError(f"{photos[number]} has no pos_{number:03}.txt. Restore it or remove the photo."))
    if not names:
        raise ValueError(f"{folder}: no photo has the number of a pos_*.txt. Name them rect_001..., or 000, 001, ...")
    projections = [_projection(texts[number]) for number in names]
    source = texts[names[0]].parent
    return replace(listing_of(source, folder, [photos[n] for n in names], projections, said), likely=_RANGE)


def _texts(folder: Path) -> dict[int, Path] | None:
    """The files by their numbers, in the first place that has some."""
    places = [folder / name for name in _PLACES]
    if any(_RECTIFIED.match(path.name) for path in folder.iterdir()):
        tops = folder.resolve().parents[:2]
        places += [top / name for top in tops for name in _ABOVE]
    for place in places:
        if place.is_dir():
            files = {
                int(found[1]): path for path in sorted(place.glob("*.txt")) if (found := _POS.fullmatch(path.stem))
            }
            if files:
                return files
    return None


def _projection(path: Path) -> Float[np.ndarray, "3 4"]:
    table = read_table(path, "a 3x4 projection matrix")
    if table.size != 12:
        raise ValueError(f"{path} must hold a 3x4 projection matrix, but has {table.size} numbers. Correct the file.")
    return table.reshape(3, 4)


def _numbered(folder: Path) -> tuple[dict[int, Path], tuple[str, ...]]:
    """One photo for each first number in a name, that of the fourth light where there are several."""
    groups: dict[int, list[Path]] = {}
    for path in list_images(folder):
        if found := re.search(r"[0-9]{1,18}", path.stem):
            groups.setdefault(int(found[0]), []).append(path)
    if max((len(group) for group in groups.values()), default=0) <= 1:
        return {number: group[0] for number, group in groups.items()}, ()
    chosen = {n: next((p for p in group if "_3_" in p.name), group[0]) for n, group in groups.items()}
    return chosen, (f"{folder} has several photos of a view; {next(iter(chosen.values())).name} and its like are read",)
