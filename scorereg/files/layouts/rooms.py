"""`frames.json` of freshly rendered rooms: frames with `image`, `depth`, `fx`, and no poses."""

from pathlib import Path

from scorereg.files.depth import DEPTH_SUFFIXES
from scorereg.files.images import IMAGE_SUFFIXES
from scorereg.files.layouts.parsing import MILLIMETRE, Bad, entries, load_json, number, raise_it, text
from scorereg.files.names import Names
from scorereg.files.view import Lens, Listing, View

__all__ = ["ROOMS", "read_rooms"]

ROOMS = "frames.json"
_END = "_file_path"


def read_rooms(folder: Path, bad: Bad = raise_it) -> Listing:
    """Read the frames of `frames.json`: `image`, `depth`, `fx`, `fy`; `NAME_file_path` is a map `NAME`.

    Args:
        folder: The folder.
        bad: Not used: what is missing is seen when it is read.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is broken, or an entry lacks.
    """
    path = folder / ROOMS
    meta, names = load_json(path), Names(folder, path)
    unit = number(meta.get("depth_unit_m", MILLIMETRE), "depth_unit_m", path)
    views = []
    for entry in entries(meta, path):
        focal_x = number(entry.get("fx"), "fx", path)
        focal_y = number(entry.get("fy", focal_x), "fy", path)
        color = names.find(text(entry, "image", path), IMAGE_SUFFIXES)[0]
        depth = names.find(text(entry, "depth", path), DEPTH_SUFFIXES, unlike=color)[0]
        keys = sorted(key for key in entry if key.endswith(_END) and key != f"depth{_END}")
        maps = tuple((key.removesuffix(_END), names.find(str(entry[key]), unlike=color)[0]) for key in keys)
        views.append(View(color, depth, maps=maps, lens=Lens((focal_x, focal_y)), unit=unit))
    return Listing(path, tuple(views), metric=True, said=names.said)
