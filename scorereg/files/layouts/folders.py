"""Folders of photos, depth maps and masks by their usual names, and the files in them by the name of their frame."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from scorereg.files.depth import depth_size
from scorereg.files.images import list_images, read_head
from scorereg.files.walk import walk

__all__ = [
    "COLOR_FOLDERS", "DEPTH_FOLDERS", "MASK_FOLDERS", "REDUCED", "by_stem", "find_below", "matched",
    "named", "natural", "photo_folders", "size_of_first",
]  # fmt: skip

REDUCED = ("images_8", "images_4", "images_2")
COLOR_FOLDERS = ("rgb", "images", "image", "color", "colour", "imgs", "photos")
DEPTH_FOLDERS = ("depth", "depths")
MASK_FOLDERS = ("mask", "masks")
_SCANNETPP = ("resized_images", "resized_undistorted_images")
_PREFIX = re.compile(r"^(rgb|colou?r|depth|frame|image|img|mask)[-_.]?(?=\d)", re.IGNORECASE)


def natural(name: str) -> list[tuple[int, str]]:
    """Return the key that sorts names as people do: `2` before `10`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def photo_folders(root: Path) -> list[Path]:
    """Return the folders of a root that may hold its photos: reduced ones first (`images_8`, `_4`, `_2`, others)."""
    others = sorted(path.name for path in root.glob("images_*") if path.name not in REDUCED)
    names = (*REDUCED, *others, "images", "input", *COLOR_FOLDERS, *_SCANNETPP, ".")
    return [root / name for name in dict.fromkeys(names) if (root / name).is_dir()]


def named(folder: Path, names: Iterable[str]) -> Path | None:
    """Return the first of some folders inside a folder that is there, in any case of letters."""
    inside = {path.name.lower(): path for path in sorted(folder.iterdir(), reverse=True) if path.is_dir()}
    return next((inside[name] for name in names if name in inside), None)


def size_of_first(photos: Iterable[Path], depths: Iterable[Path] = ()) -> tuple[float, float] | None:
    """Return width and height of the first photo, or else depth map, that can be read; None if none can."""
    for read, paths in ((lambda path: read_head(path).upright, photos), (depth_size, depths)):
        for path in paths:
            try:
                width, height = read(path)
                return float(width), float(height)
            except (OSError, ValueError):  # reported when the frame is read
                continue
    return None


def by_stem(folder: Path, suffixes: tuple[str, ...] | None = None) -> dict[str, Path]:
    """Return the images of a folder, or its files with other suffixes (in small letters), by name without suffix."""
    if suffixes is None:
        return {path.stem: path for path in list_images(folder)}
    files = (path for path in sorted(folder.iterdir()) if path.suffix.lower() in suffixes and path.is_file())
    return {path.stem: path for path in files if not path.name.startswith(".")}


def matched(colors: Mapping[str, Path], others: Mapping[str, Path]) -> dict[str, Path]:
    """Return files under the names of photos.

    Where no name agrees, words before a number are passed over, as in `rgb_0` and `depth_0`.
    """
    if set(colors) & set(others):
        return dict(others)
    plain = {_PREFIX.sub("", name): name for name in colors}
    bare = {_PREFIX.sub("", name): name for name in others}
    if len(plain) < len(colors) or len(bare) < len(others) or not set(plain) & set(bare):
        return dict(others)
    return {plain.get(key, name): others[name] for key, name in bare.items()}


def find_below(folder: Path) -> dict[str, Path]:
    """Return the images at or below a folder by their path in it, in small letters and without suffix."""
    found: dict[str, Path] = {}
    for here, _, _ in walk(folder):
        for path in list_images(here):
            found.setdefault(path.relative_to(folder).with_suffix("").as_posix().lower(), path)
    return found
