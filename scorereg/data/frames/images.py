"""Patches out of a folder of plain images, for priors that know no depth."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["find_images", "image_patches"]

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


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
    paths: list[Path], count: int, *, size: int, channels: tuple[str, ...], span: tuple[float, float], seed: int
) -> Float[Tensor, "b c h w"]:
    """Cut random patches out of images at their own resolution.

    Args:
        paths: The images; each is read once, and not all of them where there are more than patches.
        count: Number of patches.
        size: Side of a patch, in pixels.
        channels: `("r", "g", "b")`, or a single name for grey.
        span: What black and white become.
        seed: Seeds which images, and where.

    Raises:
        ValueError: If the channels are others, or an image is smaller than a patch.
        OSError: If an image cannot be read.
    """
    if tuple(channels) != ("r", "g", "b") and len(channels) != 1:
        raise ValueError(f"images give r, g, b or one grey channel, but the prior knows {', '.join(channels)}.")
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(paths), generator=generator)[torch.arange(count) % len(paths)].sort().values
    patches, last, pixels = [], -1, np.empty((0, 0, 0))
    for index in order.tolist():
        if index != last:
            last, pixels = index, _read(paths[index], "RGB" if len(channels) == 3 else "L")
        height, width, _ = pixels.shape
        if min(height, width) < size:
            raise ValueError(
                f"{paths[index]} has {width}x{height} pixels, fewer than a patch of {size}. "
                "Leave it out, or give a smaller --patch."
            )
        top, left = (int(torch.randint(side - size + 1, (), generator=generator)) for side in (height, width))
        patches.append(pixels[top : top + size, left : left + size].transpose(2, 0, 1))
    return torch.from_numpy(np.stack(patches)).to(torch.float32) / 255 * (span[1] - span[0]) + span[0]


def _read(path: Path, mode: str) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert(mode)).reshape(image.height, image.width, -1)
    except (OSError, SyntaxError) as error:  # Pillow reports some damage as a SyntaxError
        raise OSError(f"{path} cannot be read as an image ({error}). Restore the file or leave it out.") from None
