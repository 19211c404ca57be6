"""Copies of photos as structure from motion and the scene need them: upright, 8 bits, and of the wanted size."""

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scorereg._progress import steps
from scorereg.files.images import ImageHead, list_images, read_head, read_image

__all__ = ["Copies", "copy_photos", "heads_of"]

_PLAIN = {"jpeg": (".jpg", ".jpeg"), "png": (".png",)}  # kinds that are copied as they are, and their suffixes


@dataclass(frozen=True)
class Copies:
    """Photos that were copied.

    Args:
        folder: Where they are.
        names: Their names in that folder, by the names of the photos.
        sizes: Width and height, by name in that folder.
    """

    folder: Path
    names: dict[str, str]
    sizes: dict[str, tuple[int, int]]


def heads_of(photos: Path) -> dict[Path, ImageHead]:
    """Return the headers of a folder's photos, in order of their names.

    Raises:
        OSError: If the folder is missing, or a photo cannot be opened.
        ValueError: If there are fewer than two photos, or one cannot be read.
    """
    if not photos.is_dir():
        raise FileNotFoundError(f"{photos} is no folder. Name the folder that the photos lie in.")
    paths = list_images(photos)
    if len(paths) < 2:
        raise ValueError(f"{photos} holds {len(paths) or 'no'} photos. Poses need at least two; name their own folder.")
    return {path: read_head(path) for path in steps("headers of the photos", paths)}


def copy_photos(heads: dict[Path, ImageHead], folder: Path, *, max_size: int | None) -> Copies:
    """Copy photos into a folder.

    A JPEG or an 8-bit PNG that is upright and small enough is copied byte by byte. Any other is turned as EXIF says,
    reduced by a whole factor to at most `max_size`, and written as PNG of 8 bits.

    Args:
        heads: The photos with their headers.
        folder: An empty folder.
        max_size: Longest side in pixels; not reduced, if None.

    Raises:
        OSError: If a photo cannot be read, or its copy not be written.
        ValueError: If a photo cannot be read.
    """
    names: dict[str, str] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for path, head in steps("copies of the photos", heads.items()):
        step = 1 if max_size is None else math.ceil(max(head.upright) / max_size)
        plain = step == 1 and not head.turned and head.bits == 8 and path.suffix.lower() in _PLAIN.get(head.kind, ())
        name = path.name if plain else _free(path, sizes)
        if plain:
            shutil.copyfile(path, folder / name)
            sizes[name] = head.stored
        else:
            sizes[name] = _convert(path, folder / name, step)
        names[path.name] = name
    return Copies(folder, names, sizes)


def _free(path: Path, taken: dict[str, tuple[int, int]]) -> str:
    """A name that ends with .png and is not taken: `a.png`, or `a_heic.png` beside it."""
    name = f"{path.stem}.png"
    beside = {other.name for other in path.parent.iterdir()} - {path.name} | set(taken)
    return f"{path.stem}_{path.suffix[1:].lower()}.png" if name in beside else name


def _convert(path: Path, to: Path, step: int) -> tuple[int, int]:
    from PIL import Image

    color = read_image(path, step=step).color
    Image.fromarray(np.rint(color * 255).astype(np.uint8)).save(to)
    return color.shape[1], color.shape[0]
