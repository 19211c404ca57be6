"""Views of DTU's two layouts: photos with their projections, and the masks of the object that lie around them."""

import re
from pathlib import Path

import numpy as np
from jaxtyping import Float

from scorereg.files.images import list_images, read_head
from scorereg.files.layouts.folders import COLOR_FOLDERS, MASK_FOLDERS, named, natural, size_of_first
from scorereg.files.layouts.lenses import lens_of_matrix, scaled_words, sized_for
from scorereg.files.layouts.poses import object_words
from scorereg.files.layouts.projection import decompose
from scorereg.files.view import Listing, View

__all__ = ["listing_of", "photo_folder"]

_FULL = (1600.0, 1200.0)
_MASKS_OF_SCANS = ("idrmasks", *MASK_FOLDERS)  # above the scans, with a folder for each


def photo_folder(folder: Path) -> Path:
    """Return the folder of a scan's photos: one of the usual names inside of it, or it."""
    inside = named(folder, (*COLOR_FOLDERS, "rectified"))
    return inside if inside and list_images(inside) else folder


def listing_of(
    path: Path,
    folder: Path,
    photos: list[Path],
    projections: list[Float[np.ndarray, "3 4"]],
    said: tuple[str, ...] = (),
) -> Listing:
    """Return photos with their projections as views.

    Args:
        path: File or folder of the projections, which errors name.
        folder: The scan's folder.
        photos: Its photos.
        projections: One for each, for 1600x1200 pixels or the photos' own size.
        said: What was understood so far.

    Raises:
        ValueError: If a projection is none, or is for another size.
    """
    parts = [
        decompose(matrix, f"{path}, camera of {photo.name}") for matrix, photo in zip(projections, photos, strict=True)
    ]
    stored = size_of_first(photos) or read_head(photos[0]).upright  # which raises
    center = tuple(np.median([camera[:2, 2] for camera, _ in parts], 0).tolist())
    size = sized_for((center[0], center[1]), stored, [_FULL], path)
    masks, told = _masks(folder, photos)
    views = tuple(
        View(photo, object_mask=masks.get(photo), lens=lens_of_matrix(camera, path, size), pose=pose)
        for photo, (camera, pose) in zip(photos, parts, strict=True)
    )
    said = (*said, *scaled_words(path, size, stored), *told)
    return Listing(path, views, said=(*said, *object_words(path)) if masks else said)


def _masks(folder: Path, photos: list[Path]) -> tuple[dict[Path, Path], tuple[str, ...]]:
    """The masks of photos: of the same names or numbers, or as many in the same order; and a line if there are others.

    Numbers may count from another first number, as in `rect_001` and `000`.
    """
    where = _mask_folder(folder, photos[0].parent)
    files = list_images(where) if where else []
    if not files:
        return {}, ()
    stems = {file.stem: file for file in files}
    if any(photo.stem in stems for photo in photos):
        return {photo: stems[photo.stem] for photo in photos if photo.stem in stems}, ()
    numbers, first = _numbers(photos), _numbers(files)
    if len(numbers) == len(photos) and len(first) == len(files):
        apart = min(numbers) - min(first)
        found = {photo: first[n - apart] for n, photo in numbers.items() if n - apart in first}
        if apart in (0, 1):
            return found, ()
    if len(files) == len(photos):
        return dict(zip(photos, sorted(files, key=lambda file: natural(file.stem)), strict=True)), ()
    return {}, (f"{where}: its {len(files)} masks are not used, as their names do not agree with the photos'",)


def _mask_folder(folder: Path, photos: Path) -> Path | None:
    """The folder of masks: in the scan, beside its photos' folder, or above the scans with a folder for each."""
    inside = named(folder, MASK_FOLDERS)
    if inside and list_images(inside):
        return inside
    tops = (photos.parent, photos.parent.parent)
    places = (top / name / folder.name for top in tops for name in _MASKS_OF_SCANS)
    each = (place for parent in places for place in (parent / "mask", parent))
    return next((place for place in each if place.is_dir() and list_images(place)), None)


def _numbers(files: list[Path]) -> dict[int, Path]:
    """Files by the first number in their names; fewer than files if some have none, or the same."""
    return {int(found[0][:18]): file for file in files if (found := re.search(r"[0-9]+", file.stem))}
