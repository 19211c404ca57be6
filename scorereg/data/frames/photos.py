"""Which images of a folder are photos: depth maps, masks, normals and thumbnails beside them are not."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from scorereg.files.images import read_head
from scorereg.files.sniff import first_bytes

__all__ = ["photos_among"]

_WORDS = frozenset(
    "depth depths depthmap disp disparity disparities mask masks masked normal normals confidence conf segmentation "
    "segmentations seg semantic semantics instance instances label labels panoptic uncertainty alpha matte mattes "
    "silhouette silhouettes flow flows".split()
)
_SMALL = frozenset("thumb thumbs thumbnail thumbnails".split())
_DEEP_SUFFIXES = (".png", ".tif", ".tiff", ".pgm", ".pnm", ".exr", ".jp2", ".hif", ".avif")  # may have over 8 bits


def photos_among(images: list[Path], root: Path) -> tuple[list[Path], str | None]:
    """Separate photos from what lies beside them.

    No photos are, as long as others remain,

    1. files of one channel of 16 bits or floats, as depth maps are, if there are not twice as many of them as others;
    2. files and folders named depth, mask, normal, label and so on, if at least half of them have one channel where
       most others have colours, or the name or number of another image;
    3. folders of thumbnails.

    Args:
        images: Images below `root`.
        root: The folder that was searched.

    Returns:
        The photos, and a sentence on what was left out; None if nothing was.
    """
    parts: list[tuple[str, list[Path]]] = []
    kept = _less(images, [path for path in images if _words(path.parent, root) & _SMALL], "thumbnails", parts)
    deep = [path for path in kept if _is_deep(path)]
    if len(deep) <= 2 * (len(kept) - len(deep)):
        kept = _less(kept, deep, "of one channel of 16 bits or floats, like depth maps", parts)
    named = [path for path in kept if (_words(path.parent, root) | _words(Path(path.stem), Path())) & _WORDS]
    others = sorted(set(kept) - set(named))
    if named and others and _belong(named, others):
        kept = _less(kept, named, "named like masks, depth or other maps", parts)
    if not parts:
        return kept, None
    count = sum(len(left) for _, left in parts)
    kinds = ", ".join(f"{len(left)} {what} (the first: {left[0].relative_to(root)})" for what, left in parts)
    return kept, f"{root}: {count} of {len(images)} images are left out as no photos: {kinds}."


def _less(images: list[Path], left: list[Path], what: str, parts: list[tuple[str, list[Path]]]) -> list[Path]:
    """The images without some of them, which are noted; all of them if none would remain."""
    gone = set(left)
    if not left or len(gone) == len(images):
        return images
    parts.append((what, left))
    return [path for path in images if path not in gone]


def _words(path: Path, root: Path) -> set[str]:
    """The words in the names of a path below a root: `roomDepth_01/rgb` has room, depth and rgb."""
    names = path.relative_to(root).parts if root != Path() else (path.name,)
    apart = (re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name) for name in names)
    return {word.lower() for name in apart for word in re.findall(r"[A-Za-z]+", name)}


def _is_deep(path: Path) -> bool:
    """Whether an image has one channel of more than 8 bits."""
    if path.suffix.lower() not in _DEEP_SUFFIXES:
        return False
    try:
        start = first_bytes(path, 33)
        if start.startswith(b"\x89PNG"):  # most are, and there may be many
            return len(start) > 25 and (start[24], start[25]) == (16, 0)
        head = read_head(path)
    except (OSError, ValueError):  # it is reported when it is read
        return False
    return head.grey and head.bits > 8


def _belong(named: list[Path], others: list[Path]) -> bool:
    """Whether images with telling names are maps of other images."""
    keys = {key for path in others for key in _keys(path)}
    sample = named[:: -(-len(named) // 64)]
    paired = sum(bool(keys & _keys(path)) for path in sample)
    if 2 * paired >= len(sample):
        return True
    grey, colour = _share_of_grey(sample), 1 - _share_of_grey(others[:: -(-len(others) // 64)])
    return grey >= 0.5 and colour > 0.5


def _keys(path: Path) -> set[str]:
    """What an image and its maps have in common: the name without the telling words, and its last number."""
    rest = [word for word in re.findall(r"[a-z]+|\d+", path.stem.lower()) if word not in _WORDS]
    numbers = [word.lstrip("0") or "0" for word in rest if word.isdecimal()]
    return {" ".join(rest)} | ({f"#{numbers[-1]}"} if numbers and len(numbers) == 1 else set())


def _share_of_grey(images: Iterable[Path]) -> float:
    kinds = Counter[bool]()
    for path in images:
        try:
            kinds[read_head(path).grey] += 1
        except (OSError, ValueError):
            continue
    return kinds[True] / max(kinds.total(), 1)
