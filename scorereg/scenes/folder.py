"""Which views a folder has, whatever its layout; and what to do with a folder that has none, or none with a pose."""

import warnings
from pathlib import Path

from scorereg.files import Listing
from scorereg.files.images import IMAGE_SUFFIXES
from scorereg.files.layouts.find import layout_of
from scorereg.files.layouts.parsing import raise_it
from scorereg.files.walk import walk

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
        raise NotADirectoryError(f"{path}: a scene is a folder, but this is a file; give the folder it lies in.")
    reader = layout_of(path)
    if reader is None:
        raise _unknown(path)
    listing = reader(path, raise_it)
    if not any(view.pose for view in listing.views):
        where = _WHERE.get(getattr(reader, "__name__", ""), "the pose of each photo")
        raise ValueError(f"{listing.source}: no poses; a scene needs {where}. {_MAKE}.")
    for line in listing.said:
        warnings.warn(line, stacklevel=3)
    return listing


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
    cure = f"{_MAKE}." if photos else "It holds no photos either."
    return FileNotFoundError(f"{path}: no poses; a scene needs {known}. {cure}")
