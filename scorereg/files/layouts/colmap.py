"""COLMAP: a sparse model, text or binary, beside the folder of its photos.

    sparse/0/cameras.bin images.bin points3D.bin    or .txt; also in sparse/, colmap/sparse/, or the folder itself
    images/NAME                                     or images_8, images_4, images_2: the smallest that are there

Of several models that of most photos is taken. Photos that are not registered have no pose and are not listed.
"""

import os
from pathlib import Path

from scorereg.files.layouts.colmap_files import Picture, read_cameras, read_pictures
from scorereg.files.layouts.folders import MASK_FOLDERS, find_below, photo_folders
from scorereg.files.layouts.parsing import Bad, raise_it
from scorereg.files.layouts.poses import inverse, mask_words, rotation_of
from scorereg.files.names import real_path
from scorereg.files.view import Listing, View

__all__ = ["has_model", "read_colmap"]

_ABOVE = 3  # folders above a model that may hold its photos: sparse/0 has them beside `sparse`
_BASES = ("", "sparse", "colmap/sparse", "colmap", "dense/sparse", "dense/0/sparse", "distorted/sparse")


def has_model(folder: Path) -> bool:
    """Whether a folder has a COLMAP model."""
    return bool(_models(folder))


def read_colmap(folder: Path, bad: Bad = raise_it) -> Listing:
    """Read a COLMAP model: photos in order of their names, with lens and pose; its points.

    Raises:
        FileNotFoundError: If there is no model, or none of its photos are found.
        ValueError: If a file is damaged, or a photo's camera is missing or no lens that is supported.
    """
    model, said = _largest(folder)
    suffix = _suffix(model)
    cameras = read_cameras(model / f"cameras{suffix}")
    pictures = sorted(read_pictures(model / f"images{suffix}"), key=lambda picture: picture.name)
    _check(pictures, set(cameras), model / f"images{suffix}")
    lenses = {number: cameras[number].lens(model / f"cameras{suffix}") for number in {p.camera for p in pictures}}
    photos, where = _photos(folder, model, [picture.name for picture in pictures])
    masks = _masks(where)
    views = tuple(
        View(
            photos[picture.name], lens=lenses[picture.camera], mask=_mask_of(picture.name, masks),
            pose=inverse(rotation_of(picture.quaternion), picture.translation),
        )
        for picture in pictures if picture.name in photos
    )  # fmt: skip
    said += _missing(pictures, photos, where) + (_unregistered(photos, where) if where != folder else ())
    if any(view.mask for view in views):
        said += mask_words(folder)
    points = (model / f"points3D{end}" for end in (".bin", ".txt", ".ply"))
    points = next((path for path in points if os.path.lexists(path)), None)  # what is no file is refused when read
    return Listing(model, views, points=points, said=said)


def _suffix(model: Path) -> str | None:
    """The kind of a model's files, binary first as in COLMAP; None if there is none."""
    ends = (end for end in (".bin", ".txt") if all((model / f"{x}{end}").is_file() for x in ("cameras", "images")))
    return next(ends, None)


def _models(folder: Path) -> list[Path]:
    """The models of the first place that has any."""
    for base in (folder / name for name in _BASES):
        if base.is_dir():
            inside = sorted(path for path in base.iterdir() if path.is_dir()) if base.resolve().name == "sparse" else []
            found = [path for path in (base, *inside) if _suffix(path)]
            if found:
                return found
    return []


def _largest(folder: Path) -> tuple[Path, tuple[str, ...]]:
    """The model of most photos, and the line that names the others."""
    models = _models(folder)
    if not models:
        raise FileNotFoundError(f"{folder} has no COLMAP model: cameras and images, .bin or .txt, in sparse/0.")
    if len(models) == 1:
        return models[0], ()
    counts = {model: len(read_pictures(model / f"images{_suffix(model)}")) for model in models}
    best = max(models, key=counts.__getitem__)
    others = ", ".join(f"{model.name} ({counts[model]})" for model in models if model != best)
    return best, (f"{best} is read, with {counts[best]} photos the largest model; beside it are {others}",)


def _check(pictures: list[Picture], cameras: set[int], path: Path) -> None:
    if not pictures:
        raise ValueError(f"{path} has no photos: none was registered. Run the mapper again with more overlap.")
    names = [picture.name for picture in pictures]
    for picture, other in zip(pictures, names[1:], strict=False):
        if picture.name == other:
            raise ValueError(f"{path} has the photo {other} twice. Export the model again.")
    for picture in pictures:
        if picture.camera not in cameras:
            raise ValueError(f"{path}: {picture.name} has camera {picture.camera}, which the cameras file lacks.")


def _photos(folder: Path, model: Path, names: list[str]) -> tuple[dict[str, Path], Path]:
    """The files of photos by name, and their folder: the first of those with most of them."""
    inner = [path for path in model.parents if path.is_relative_to(folder)]  # dense/images before images
    outer = model.absolute().parents[:_ABOVE] if model == folder or folder.resolve().name == "sparse" else ()
    roots = (*inner, folder, *outer)
    places = [place for root in roots for place in photo_folders(root) if place == folder or place != root]
    best: dict[str, Path] = {}
    where = folder
    for place in dict.fromkeys(places):
        found = {name: place / name for name in names if (place / name).is_file()}
        if len(found) < len(names):
            below = find_below(place)
            others = {name: _ending(name, below) for name in names}
            found = {name: path for name in names if (path := found.get(name) or others[name])}
        if len(found) > len(best):
            best, where = found, place
        if len(best) == len(names):
            break
    if not best:
        raise FileNotFoundError(
            f"{model} has {len(names)} photos, but none of them, {names[0]} for one, is in {folder / 'images'} or "
            "images_2, images_4, images_8. Put them there."
        )
    return best, where


def _ending(name: str, below: dict[str, Path]) -> Path | None:
    """The file of a name with another suffix or case; of an absolute name, that of its longest end."""
    parts = Path(name.lower()).with_suffix("").parts
    tails = range(len(parts)) if name.startswith("/") or ":" in parts[0] else (0,)
    return next((path for start in tails if (path := below.get("/".join(parts[start:])))), None)


def _masks(where: Path) -> dict[str, Path]:
    places = (beside / name for beside in (where.parent, where) for name in MASK_FOLDERS)
    place = next((place for place in places if place.is_dir()), None)
    return find_below(place) if place else {}


def _mask_of(name: str, masks: dict[str, Path]) -> Path | None:
    """COLMAP adds `.png` to the photo's name; others replace its suffix."""
    return masks.get(name.lower()) or masks.get(Path(name).with_suffix("").as_posix().lower())


def _missing(pictures: list[Picture], photos: dict[str, Path], where: Path) -> tuple[str, ...]:
    lost = [picture.name for picture in pictures if picture.name not in photos]
    if not lost:
        return ()
    return (f"{where}: {len(lost)} of the {len(pictures)} photos of the model are missing: {_few(lost)}",)


def _unregistered(photos: dict[str, Path], where: Path) -> tuple[str, ...]:
    known = {real_path(path) for path in photos.values()}
    lost = [path.name for path in find_below(where).values() if real_path(path) not in known]
    if not lost:
        return ()
    return (f"{where}: {len(lost)} photos are not registered in the model and have no pose: {_few(lost)}",)


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
