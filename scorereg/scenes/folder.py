"""Which views a folder has, whatever its layout; and what to do with a folder that has none, or none with a pose."""

import warnings
from pathlib import Path

from scorereg.files import Listing
from scorereg.files.foreign import foreign_words
from scorereg.files.images import IMAGE_SUFFIXES, list_images
from scorereg.files.layouts.find import layout_of
from scorereg.files.layouts.folders import MASK_FOLDERS
from scorereg.files.layouts.parsing import raise_it
from scorereg.files.layouts.transforms import read_transforms
from scorereg.files.names import real_path
from scorereg.files.walk import is_litter, walk

__all__ = ["list_views"]

_DEPTH = 3  # folders below the given one that are searched for scenes, to name them
_WHERE = {  # file of the poses, by layout
    "read_transforms": "`transform_matrix` of each frame",
    "read_rooms": "transforms.json with a `transform_matrix` of each frame, in place of frames.json",
    "read_pairs": "pose/NAME.txt (4x4, world from camera) for each rgb/NAME, or traj.txt",
    "read_kinect": "NAME.pose.txt beside each NAME.color",
    "read_scannet": "pose/NAME.txt for each color/NAME",
    "read_tum": "groundtruth.txt",
    "read_replica": "traj.txt",
}
_MAKE = "`scorereg poses PHOTOS --out SCENE` finds poses for photos that overlap"


def list_views(path: Path) -> Listing:
    """List the views of a folder that have a pose; what its reader says becomes warnings.

    Raises:
        FileNotFoundError: If there is no such folder, or it has no layout that is known.
        NotADirectoryError: If it is a file.
        ValueError: If no view has a pose.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such folder; check the path.")
    if not path.is_dir():
        packed = path.suffix.lower() in (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".r3d")
        cure = "unpack it, and give the folder" if packed else "give the folder it lies in"
        raise NotADirectoryError(f"{path}: a scene is a folder, but this is a file; {cure}.")
    reader = layout_of(path)
    if reader is None:
        raise _unknown(path)
    listing = reader(path, raise_it)
    if not any(view.pose for view in listing.views):
        where = _WHERE.get(getattr(reader, "__name__", ""), "the pose of each photo")
        raise ValueError(f"{listing.source}: no poses; a scene needs {where}. {_MAKE}.")
    told = (*unlisted(listing), *unused_masks(listing, path)) if reader is read_transforms else ()
    for line in (*listing.said, *incomplete(listing), *told):
        warnings.warn(line, stacklevel=3)
    return listing


def incomplete(listing: Listing) -> tuple[str, ...]:
    """A line each for masks, masks of the object and depth maps that most of the views have and some lack."""
    lines = []
    for what, lacking in (
        ("mask", [view for view in listing.views if view.mask is None]),
        ("mask of the object", [view for view in listing.views if view.object_mask is None]),
        ("depth map", [view for view in listing.views if view.depth is None]),
    ):
        if 0 < len(lacking) <= len(listing.views) / 2:
            count = f"{len(lacking)} of {len(listing.views)}"
            lines.append(f"{listing.source}: {count} views have no {what}, {lacking[0].file.name} for one.")
    return tuple(lines)


def unlisted(listing: Listing) -> tuple[str, ...]:
    """A line for photos beside those of the views that are none, unless most are: then a part was chosen.

    Photos have the suffix of listed ones in their folder. Depth maps, masks and maps are none, nor are files that are
    named after a listed photo, as `r_0_depth.png`, `0.mask.png` and `dynamic_mask_0.png`.
    """
    photos = {real_path(view.color) for view in listing.views if view.color}
    files = (file for view in listing.views for file in (view.depth, view.mask, *dict(view.maps).values()) if file)
    known, stems = photos | {real_path(file) for file in files}, {photo.stem for photo in photos}
    found = [
        path
        for folder, suffix in sorted({(photo.parent, photo.suffix) for photo in photos})
        for path in (sorted(folder.iterdir()) if folder.is_dir() else ())
        if path.suffix == suffix and path.is_file() and not is_litter(path.name) and not stems & _ends(path.stem)
        if real_path(path) not in known
    ]
    if not 0 < len(found) <= len(photos):
        return ()
    names = ", ".join(path.name for path in found[:3]) + (", ..." if len(found) > 3 else "")
    return (f"{listing.source}: {len(found)} photos beside its own are no frames of it: {names}.",)


def unused_masks(listing: Listing, path: Path) -> tuple[str, ...]:
    """A line for a folder of masks that no view uses, though files in it are named after the photos."""
    if any(view.mask for view in listing.views):
        return ()
    stems = {view.color.stem for view in listing.views if view.color}
    for folder in (path / name for name in MASK_FOLDERS):
        if folder.is_dir() and any(stems & _ends(file.stem) for file in list_images(folder)):
            return (
                f"{folder}: its masks are not used, as no frame names them; name them as `mask_path` if they count.",
            )
    photos = [view.color for view in listing.views if view.color]
    found = [file for photo in photos for name in _mask_names(photo) if (file := photo.with_name(name)).is_file()]
    if 2 * len(found) < max(len(photos), 1):
        return ()
    return (f"{found[0]} is not used, as no frame names it; name it as `mask_path` if it counts.",)


def _mask_names(photo: Path) -> tuple[str, ...]:
    """Names that masks beside a photo have."""
    stem = photo.stem
    return f"{stem}.mask.png", f"{stem}_mask.png", f"{stem}-mask.png", f"mask_{stem}.png", f"{photo.name}.mask.png"


def _ends(stem: str) -> set[str]:
    """The parts of a name before and after each of its dots, dashes and underscores, and the name."""
    cuts = [i for i, letter in enumerate(stem) if letter in "._-"]
    return {stem, *(stem[:i] for i in cuts), *(stem[i + 1 :] for i in cuts)}


def _above(path: Path) -> Path | None:
    """The scene whose photos lie in a folder: one of the two above it."""
    for folder in path.absolute().parents[:2]:
        try:
            if layout_of(folder):
                return folder
        except OSError:  # of someone else
            return None
    return None


def _unknown(path: Path) -> FileNotFoundError:
    """The error for a folder of no layout: it names scenes that lie below it."""
    known = "transforms.json (nerfstudio, Blender), poses_bounds.npy (LLFF) or a COLMAP model beside its images"
    if not any(path.iterdir()):
        return FileNotFoundError(f"{path}: the folder is empty; a scene needs {known}.")
    below, photos = [], False
    for here, folders, files in walk(path):
        photos = photos or any(Path(name).suffix.lower() in IMAGE_SUFFIXES for name in files)
        if here != path and layout_of(here):
            below.append(here.relative_to(path).as_posix())
            folders.clear()
        if len(here.relative_to(path).parts) >= _DEPTH:
            folders.clear()
    if below:
        others = f" and {len(below) - 1} more" if len(below) > 1 else ""
        return FileNotFoundError(f"{path}: no scene, but {path / below[0]} below it is one{others}; give that folder.")
    if photos and (above := _above(path)):
        return FileNotFoundError(f"{path}: no poses, but {above} above it is a scene; give that folder.")
    if found := foreign_words(path):
        return FileNotFoundError(f"{path}: no scene, as it needs {known}. {found}.")
    cure = f"{_MAKE}." if photos else "It holds no photos either."
    return FileNotFoundError(f"{path}: no poses; a scene needs {known}. {cure}")
