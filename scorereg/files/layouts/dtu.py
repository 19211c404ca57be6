"""DTU as IDR and NeuS have it: `cameras_sphere.npz`, `image/`, `mask/`; and DTU's own text files of projections.

    cameras_sphere.npz    world_mat_i @ scale_mat_i projects the scene, scaled into the unit sphere, to the i-th photo
    image/, mask/         or images, rgb; files in the order of their names; masks of the object, not of what counts
    pos_001.txt           3x4, world in millimetres to pixels of 1600x1200; in the folder, cal18/ or Calibration/cal18/

The matrices are for photos of 1600x1200 pixels, also where the photos are smaller.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from scorereg.files.arrays import read_npz
from scorereg.files.images import list_images, read_head
from scorereg.files.layouts.folders import COLOR_FOLDERS, MASK_FOLDERS, by_stem, named, natural, size_of_first
from scorereg.files.layouts.lenses import lens_of_matrix, scaled_words, sized_for
from scorereg.files.layouts.parsing import Bad, raise_it, read_table
from scorereg.files.layouts.poses import object_words
from scorereg.files.layouts.projection import decompose
from scorereg.files.view import Listing, View

__all__ = ["has_projections", "is_dtu", "read_dtu", "read_projections"]

_CAMERAS = ("cameras_sphere.npz", "cameras.npz", "cameras_large.npz", "cameras_linear_init.npz")
_FULL = (1600.0, 1200.0)
_RANGE = (425.0, 937.0)  # millimetres, of all scans
_BEHIND = 3.0  # radii behind the middle of the unit sphere, where the ground ends
_TEXTS = ("", "cal18", "cal", "calib", "calibration", "Calibration/cal18", "Calibration", "pos", "cameras")
_POS = re.compile(r"pos_?(\d+)", re.IGNORECASE)


def is_dtu(files: set[str]) -> bool:
    """Whether a folder with these files has matrices in an archive."""
    return bool(files & set(_CAMERAS))


def read_dtu(folder: Path, bad: Bad = raise_it) -> Listing:
    """Read `cameras_sphere.npz`, or `cameras.npz`, and the photos beside it, in the unit of the normalised scene.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a matrix is missing or not usable, or there are more matrices than photos.
    """
    path = next(folder / name for name in _CAMERAS if (folder / name).is_file())
    matrices = read_npz(path)
    numbers = sorted(int(key.removeprefix("world_mat_")) for key in matrices if re.fullmatch(r"world_mat_\d+", key))
    photos = list_images(_photo_folder(folder))
    if not numbers or len(photos) != len(numbers):
        raise ValueError(
            f"{path} has {len(numbers)} cameras (world_mat_0, world_mat_1, ...) for the {len(photos)} photos of "
            f"{_photo_folder(folder)}: there must be one for each. Restore the missing ones."
        )
    photos = sorted(photos, key=lambda photo: natural(photo.stem))
    _check_numbers(numbers, photos, path)
    projections = [_projection(matrices, number, path) for number in numbers]
    scaled = _check_scales(matrices, numbers, path)
    listing = _listing(path, photos, projections)
    return replace(listing, likely=_around_sphere(listing.views) if scaled else None)


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
    photos, said = _numbered(_photo_folder(folder))
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
    projections = [_text_projection(texts[number]) for number in names]
    listing = _listing(texts[names[0]].parent, [photos[number] for number in names], projections, said)
    return replace(listing, likely=_RANGE)


def _listing(
    path: Path, photos: list[Path], projections: list[Float[np.ndarray, "3 4"]], said: tuple[str, ...] = ()
) -> Listing:
    parts = [
        decompose(matrix, f"{path}, camera of {photo.name}") for matrix, photo in zip(projections, photos, strict=True)
    ]
    stored = size_of_first(photos) or read_head(photos[0]).upright  # which raises
    center = tuple(np.median([camera[:2, 2] for camera, _ in parts], 0).tolist())
    size = sized_for((center[0], center[1]), stored, [_FULL], path)
    said += scaled_words(path, size, stored)
    masks = _masks(photos)
    if any(masks.values()):
        said += object_words(path)
    views = tuple(
        View(photo, object_mask=masks[photo], lens=lens_of_matrix(camera, path, size), pose=pose)
        for photo, (camera, pose) in zip(photos, parts, strict=True)
    )
    return Listing(path, views, said=said)


def _photo_folder(folder: Path) -> Path:
    inside = named(folder, (*COLOR_FOLDERS, "rectified"))
    return inside if inside and list_images(inside) else folder


def _masks(photos: list[Path]) -> dict[Path, Path | None]:
    """The masks of photos, in the folder beside theirs: of the same names, or, as in IDR, in the same order."""
    folder = named(photos[0].parent.parent, MASK_FOLDERS)
    files = by_stem(folder) if folder else {}
    if any(photo.stem in files for photo in photos):
        return {photo: files.get(photo.stem) for photo in photos}
    ordered = sorted(files, key=natural)
    same = len(ordered) == len(photos)
    return {photo: files[ordered[place]] if same else None for place, photo in enumerate(photos)}


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


def _check_scales(matrices: dict[str, np.ndarray], numbers: list[int], path: Path) -> bool:
    """Check that the scene is scaled in one way for all cameras; tell whether it is scaled at all."""
    scales = [matrices.get(f"scale_mat_{number}") for number in numbers]
    if all(scale is None for scale in scales):
        return False
    gone = next((number for number, scale in zip(numbers, scales, strict=True) if scale is None), None)
    if gone is not None:
        raise ValueError(f"{path} has no scale_mat_{gone}, but others, so its scene has two scales. Restore it.")
    first = scales[0]
    for number, scale in zip(numbers, scales, strict=True):
        assert scale is not None, "checked above"
        assert first is not None, "checked above"
        if scale.shape == first.shape and not np.allclose(scale, first, rtol=1e-4, atol=1e-6 * np.abs(first).max()):
            raise ValueError(
                f"{path}: scale_mat_{number} differs from scale_mat_{numbers[0]}, but a scene has one scale. Write the "
                "file again."
            )
    return True


def _around_sphere(views: Sequence[View]) -> tuple[float, float] | None:
    """Near and far of all views about the unit sphere, which holds the object; None if a camera is in it."""
    depths = [float(-view.matrix[:, 3] @ view.matrix[:, 2]) for view in views]
    return (min(depths) - 1, max(depths) + _BEHIND) if min(depths) > 1 else None


def _projection(matrices: dict[str, np.ndarray], number: int, path: Path) -> Float[np.ndarray, "3 4"]:
    world, scale = matrices[f"world_mat_{number}"], matrices.get(f"scale_mat_{number}", np.eye(4))
    if world.shape not in ((4, 4), (3, 4)) or scale.shape != (4, 4) or {world.dtype.kind, scale.dtype.kind} - {"f"}:
        raise ValueError(
            f"{path}: world_mat_{number} and scale_mat_{number} must be 4x4 floats, not {world.shape} of {world.dtype} "
            f"and {scale.shape} of {scale.dtype}. Write the file again."
        )
    return world[:3].astype(np.float64) @ scale.astype(np.float64)


def _texts(folder: Path) -> dict[int, Path] | None:
    for place in (folder / name for name in _TEXTS):
        if place.is_dir():
            files = {
                int(found[1]): path for path in sorted(place.glob("*.txt")) if (found := _POS.fullmatch(path.stem))
            }
            if files:
                return files
    return None


def _text_projection(path: Path) -> Float[np.ndarray, "3 4"]:
    table = read_table(path, "a 3x4 projection matrix")
    if table.size != 12:
        raise ValueError(f"{path} must hold a 3x4 projection matrix, but has {table.size} numbers. Correct the file.")
    return table.reshape(3, 4)


def _numbered(folder: Path) -> tuple[dict[int, Path], tuple[str, ...]]:
    """One photo for each first number in a name, that of the fourth light where there are several."""
    groups: dict[int, list[Path]] = {}
    for path in list_images(folder):
        if found := re.search(r"\d+", path.stem):
            groups.setdefault(int(found[0]), []).append(path)
    if max((len(group) for group in groups.values()), default=0) <= 1:
        return {number: group[0] for number, group in groups.items()}, ()
    chosen = {n: next((p for p in group if "_3_" in p.name), group[0]) for n, group in groups.items()}
    return chosen, (f"{folder} has several photos of a view; {next(iter(chosen.values())).name} and its like are read",)
