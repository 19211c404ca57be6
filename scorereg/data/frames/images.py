"""Patches of a folder of plain images, cut at the images' own resolution, for priors without depth."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from scorereg._progress import steps
from scorereg.data.frames.photos import photos_among
from scorereg.data.patch_spec import PatchSpec
from scorereg.data.source import SourceInfo, seeded
from scorereg.files.foreign import foreign_words
from scorereg.files.images import IMAGE_SUFFIXES, read_image
from scorereg.files.names import real_path
from scorereg.files.sniff import RAW_SUFFIXES
from scorereg.files.walk import walk

__all__ = ["ImageSource", "find_images", "image_patches", "open_images"]


@dataclass(frozen=True)
class ImageSource:
    """Random patches of images, without augmentation.

    Args:
        about: Description of the data.
        sets: Files by the name of their set: `"train"` and `"held-out"`.
        spec: Patch size, channels and range.
    """

    about: SourceInfo
    sets: dict[str, list[Path]]
    spec: PatchSpec

    @property
    def measured(self) -> tuple[str, ...]:
        return ("held-out",)

    def batch(self, count: int, *, seed: int, step: int, slot: int) -> tuple[Tensor, Tensor]:
        x = image_patches(self.sets["train"], count, self.spec, seeded(seed, step, slot))
        return x, torch.ones_like(x)

    def plain(self, name: str, count: int, *, seed: int) -> tuple[Tensor, Tensor]:
        x = image_patches(self.sets[name], count, self.spec, torch.Generator().manual_seed(seed))
        return x, torch.ones_like(x)


def open_images(folder: Path, spec: PatchSpec) -> ImageSource:
    """Find the images of a folder; the last quarter, in order of their names, is held out.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it holds fewer than two images.
    """
    images = find_images(folder)
    kept = max(len(images) // 4, 1)
    sets = {"train": images[:-kept], "held-out": images[-kept:]}
    about = SourceInfo(
        spec.names, (spec.patch_size,) * 2, f"{len(images) - kept} images of {folder.resolve().name}", range=spec.range,
        held_out=(f"the last {kept} images",),
    )  # fmt: skip
    return ImageSource(about, sets, spec)


def find_images(folder: Path) -> list[Path]:
    """Return the photos at or below a folder, in order of their names; links are followed, and each file counts once.

    What lies beside photos and is none (`photos_among`) is left out with a warning; so is camera RAW.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it holds fewer than two photos.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder. Name folders of images or of RGB-D frames.")
    files = [here / name for here, _, names in walk(folder) for name in names]
    images = {real_path(path): path for path in reversed(files) if path.suffix.lower() in IMAGE_SUFFIXES}
    found, words = photos_among(sorted(images.values()), folder)
    raw = sum(path.suffix.lower() in RAW_SUFFIXES for path in files)
    if raw and len(found) < 2:
        raise ValueError(
            f"{folder} holds {raw} files of camera RAW. Develop them to JPEG, or to PNG or TIFF of 16 bits."
        )
    if raw:
        words = f"{words or f'{folder}:'} {raw} files of camera RAW are not read."
    if words:
        warnings.warn(words, stacklevel=2)
    if not found and (other := foreign_words(folder)):
        raise ValueError(f"{folder} holds no images. {other}.")
    if len(found) < 2:
        raise ValueError(
            f"{folder} holds {len(found) or 'no'} images ({', '.join(IMAGE_SUFFIXES)}), and no RGB-D frames; at least "
            "two are needed, one to be measured on."
        )
    return found


def image_patches(
    paths: list[Path], count: int, spec: PatchSpec, generator: torch.Generator
) -> Float[Tensor, "b c h w"]:
    """Cut random patches out of images at their own resolution.

    Args:
        paths: The images; each is read once at most.
        count: Number of patches.
        spec: Patch size; channels: r, g, b, or a single name for grey; range: the values of black and white.
        generator: Draws images and positions.

    Raises:
        ValueError: If the channels are others, or an image is smaller than a patch.
        OSError: If an image cannot be read.
    """
    names, size, (low, high) = spec.names, spec.patch_size, spec.range
    if names != ("r", "g", "b") and len(names) != 1:
        raise ValueError(f"images give r, g, b or one grey channel, but the prior knows {', '.join(names)}.")
    order = torch.randperm(len(paths), generator=generator)[torch.arange(count) % len(paths)].sort().values
    patches, last, pixels = [], -1, np.empty((0, 0, 0))
    for index in steps("patches of images", order.tolist()):
        if index != last:
            last, pixels = index, read_image(paths[index]).color
        height, width = pixels.shape[:2]
        if min(height, width) < size:
            raise ValueError(
                f"{paths[index]} has {width}x{height} pixels, fewer than a patch of {size}. "
                "Leave it out, or give a smaller --patch."
            )
        top, left = (int(torch.randint(side - size + 1, (), generator=generator)) for side in (height, width))
        patch = pixels[top : top + size, left : left + size]
        patches.append((patch if len(names) == 3 else _grey(patch)).transpose(2, 0, 1))
    return torch.from_numpy(np.stack(patches)) * (high - low) + low


def _grey(color: np.ndarray) -> np.ndarray:
    """Brightness, 0.299 r + 0.587 g + 0.114 b (ITU-R BT.601); that of grey exactly."""
    red, green, blue = np.split(color, 3, -1)
    return green + np.float32(0.299) * (red - green) + np.float32(0.114) * (blue - green)
