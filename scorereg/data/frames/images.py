"""Patches of a folder of plain images, cut at the images' own resolution, for priors without depth."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from scorereg.data.frames.read import read_image
from scorereg.data.patch_spec import PatchSpec
from scorereg.data.source import SourceInfo, seeded

__all__ = ["ImageSource", "find_images", "image_patches", "open_images"]

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


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
    """Return the images at or below a folder, in order of their names.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it holds fewer than two images.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder. Name folders of images or of RGB-D frames.")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    if len(found) < 2:
        raise ValueError(
            f"{folder} holds {len(found) or 'no'} images ({', '.join(_SUFFIXES)}), and no RGB-D frames; at least two "
            "are needed, one to be measured on."
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
    for index in order.tolist():
        if index != last:
            last, pixels = index, read_image(paths[index], "RGB" if len(names) == 3 else "L")
        height, width = pixels.shape[:2]
        if min(height, width) < size:
            raise ValueError(
                f"{paths[index]} has {width}x{height} pixels, fewer than a patch of {size}. "
                "Leave it out, or give a smaller --patch."
            )
        top, left = (int(torch.randint(side - size + 1, (), generator=generator)) for side in (height, width))
        patches.append(np.atleast_3d(pixels)[top : top + size, left : left + size].transpose(2, 0, 1))
    return torch.from_numpy(np.stack(patches)).to(torch.float32) / 255 * (high - low) + low
