"""Readers of photos and depth maps."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["IMAGE_SUFFIXES", "image_size", "list_images", "read_depth", "read_image"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_MISSING = 65535  # of Kinect-type 16-bit files: no depth was measured


def list_images(folder: Path) -> list[Path]:
    """The photos of a folder, sorted by name; hidden files are left out."""
    paths = (p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))
    return sorted(paths)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of an image, from the file's header alone.

    Raises:
        ValueError: If the file is no image.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.size
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path}: not a readable image; replace it or remove its view.") from error


def read_image(path: Path) -> Float[Tensor, "h w 3"]:
    """Read a photo to [0, 1], transparency on white, gray as three equal channels.

    Raises:
        ValueError: If the file is truncated, or no image.
    """
    from PIL import Image

    image_size(path)
    try:
        with Image.open(path) as image:
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                rgba = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
            pixels = np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{path}: the image is truncated or corrupt; copy it again or remove its view.") from error
    return torch.from_numpy(pixels.astype(np.float32) / 255)


def read_depth(path: Path, unit: float) -> Float[Tensor, "h w"]:
    """Read a planar depth map, 16-bit PNG or `.npy`, times `unit`; 0 where depth is unknown.

    Unknown are 0, negative numbers, NaN and infinity, and in a file of integers also 65535.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no depth map.
    """
    from PIL import Image

    if not path.is_file():
        raise FileNotFoundError(f"{path}: the depth map named for this view is missing; add it or drop the entry.")
    try:
        if path.suffix == ".npy":
            raw = np.load(path, allow_pickle=False)
        else:
            with Image.open(path) as image:
                raw = np.asarray(image)
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ValueError(f"{path}: the depth map is truncated or corrupt; copy it again.") from error
    raw = raw[..., 0] if raw.ndim == 3 and raw.shape[-1] == 1 else raw
    if raw.ndim != 2 or raw.dtype == np.uint8:
        raise ValueError(
            f"{path}: a depth map has one channel of 16-bit or float numbers, but this has shape {raw.shape} and "
            f"type {raw.dtype}; write it as 16-bit PNG or .npy."
        )
    depth = raw.astype(np.float32)
    known = np.isfinite(depth) & (depth > 0)
    if raw.dtype.kind in "ui":  # Pillow reads 16-bit PNG as int32 in some modes
        known &= raw != _MISSING
    return torch.from_numpy(np.where(known, depth, 0).astype(np.float32) * np.float32(unit))
