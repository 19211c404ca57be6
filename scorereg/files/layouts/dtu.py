"""DTU as IDR and NeuS have it: `cameras_sphere.npz`, `image/`, `mask/`.

    cameras_sphere.npz    world_mat_i @ scale_mat_i projects the scene, scaled into the unit sphere, to the i-th photo
    image/, mask/         or images, rgb; files in the order of their names; masks of the object, not of what counts

The matrices are for photos of 1600x1200 pixels, also where the photos are smaller.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from scorereg.files.arrays import read_npz
from scorereg.files.images import list_images
from scorereg.files.layouts.dtu_views import listing_of, photo_folder
from scorereg.files.layouts.folders import natural
from scorereg.files.layouts.parsing import Bad, raise_it
from scorereg.files.view import Listing, View

__all__ = ["is_dtu", "read_dtu"]

_CAMERAS = ("cameras_sphere.npz", "cameras.npz", "cameras_large.npz", "cameras_linear_init.npz")
_BEHIND = 3.0  # radii behind the middle of the unit sphere, where the ground ends


def is_dtu(files: set[str]) -> bool:
    """Whether a folder with these files has matrices in an archive."""
    return bool(files & set(_CAMERAS))


def read_dtu(folder: Path, bad: Bad = raise_it) -> Listing:
    """Read `cameras_sphere.npz`, or `cameras.npz`, and the photos beside it, in the unit of the normalised scene.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a matrix is missing or not usable, or there are more or fewer matrices than photos.
    """
    path = next(folder / name for name in _CAMERAS if (folder / name).is_file())
    arrays = read_npz(path)
    worlds, scales = (_numbered(arrays, kind, path) for kind in ("world_mat", "scale_mat"))
    where = photo_folder(folder)
    photos = sorted(list_images(where), key=lambda photo: natural(photo.stem))
    if not worlds or len(photos) != len(worlds):
        raise ValueError(
            f"{path} has {len(worlds)} cameras (world_mat_0, world_mat_1, ...) for the {len(photos)} photos of "
            f"{where}: there must be one for each. Restore the missing ones."
        )
    _check_numbers(list(worlds), photos, path)
    projections = [_projection(world, scales.get(n, np.eye(4)), f"{n}", path) for n, world in worlds.items()]
    _check_scales(list(worlds), scales, path)
    listing = listing_of(path, folder, photos, projections)
    return replace(listing, likely=_around_sphere(listing.views) if scales else None)


def _numbered(arrays: dict[str, np.ndarray], kind: str, path: Path) -> dict[int, np.ndarray]:
    """The matrices of a kind by their numbers, in order."""
    keys = [(int(found[1]), key) for key in arrays if (found := re.fullmatch(rf"{kind}_([0-9]{{1,9}})", key))]
    found = {number: arrays[key] for number, key in sorted(keys)}
    if len(found) < len(keys):
        twice = next(number for number in found if [n for n, _ in keys].count(number) > 1)
        raise ValueError(f"{path} has {kind}_{twice} twice, with and without leading zeros. Write the file again.")
    return found


def _check_numbers(numbers: list[int], photos: list[Path], path: Path) -> None:
    """Check that cameras and photos belong together where numbers are left out: the two are paired in order."""
    names = [int(found[-1]) for photo in photos if (found := re.findall(r"\d+", photo.stem))]
    apart = {name - number for name, number in zip(names, numbers, strict=False)}
    if numbers != list(range(len(numbers))) and not (len(names) == len(photos) and len(apart) == 1):
        gone = min(set(range(len(numbers))) - set(numbers))
        raise ValueError(
            f"{path} has no world_mat_{gone}, and its other cameras are not numbered as the photos of "
            f"{photos[0].parent} are, so which belongs to which is not known. Restore it."
        )


def _check_scales(numbers: list[int], scales: dict[int, np.ndarray], path: Path) -> None:
    """Check that the scene is scaled in one way for all cameras."""
    if not scales:
        return
    if gone := [number for number in numbers if number not in scales]:
        raise ValueError(f"{path} has no scale_mat_{gone[0]}, but others, so its scene has two scales. Restore it.")
    first = scales[numbers[0]]
    for number in numbers:
        if not np.allclose(scales[number], first, rtol=1e-4, atol=1e-6 * np.abs(first).max()):
            raise ValueError(
                f"{path}: scale_mat_{number} differs from scale_mat_{numbers[0]}, but a scene has one scale. Write the "
                "file again."
            )


def _around_sphere(views: Sequence[View]) -> tuple[float, float] | None:
    """Near and far of all views about the unit sphere, which holds the object; None if a camera is in it."""
    depths = [float(-view.matrix[:, 3] @ view.matrix[:, 2]) for view in views]
    return (min(depths) - 1, max(depths) + _BEHIND) if min(depths) > 1 else None


def _projection(world: np.ndarray, scale: np.ndarray, number: str, path: Path) -> Float[np.ndarray, "3 4"]:
    if world.shape not in ((4, 4), (3, 4)) or scale.shape != (4, 4) or {world.dtype.kind, scale.dtype.kind} - {"f"}:
        raise ValueError(
            f"{path}: world_mat_{number} and scale_mat_{number} must be 4x4 floats, not {world.shape} of {world.dtype} "
            f"and {scale.shape} of {scale.dtype}. Write the file again."
        )
    return world[:3].astype(np.float64) @ scale.astype(np.float64)
