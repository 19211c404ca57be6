"""Grids of patches as pictures."""

import math
import os
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from scorereg._io import write_beside

__all__ = ["patch_grid", "save_grid"]


def patch_grid(
    x: Float[Tensor, "n c *space"],
    channels: tuple[str, ...],
    *,
    span: tuple[float, float] = (-1.0, 1.0),
    zoom: int = 3,
) -> np.ndarray:
    """Return an 8-bit picture of patches: colours, and to the right of them the other channels, near being bright.

    One-dimensional patches are drawn as bands, volumes by their middle slice.

    Args:
        x: Patches.
        channels: Their names; r, g and b are drawn in colour.
        span: Values of black and white.
        zoom: Pixels of the picture along the side of a patch's pixel.
    """
    tiles, parts = [], []
    gray = (_flat(x).detach().cpu().to(torch.float32) - span[0]) / (span[1] - span[0])
    for patch in (gray.clamp(0, 1) * 255).numpy():
        planes = dict(zip(channels, patch, strict=True))
        color = {"r", "g", "b"} <= set(planes)
        parts = [np.stack([planes[c] for c in "rgb"], -1)] if color else []
        parts += [p[..., None].repeat(3, -1) for name, p in planes.items() if not (color and name in "rgb")]
        tiles.append(np.pad(np.concatenate(parts, 1), ((1, 1), (1, 1), (0, 0))))
    columns = max(math.isqrt(len(tiles) // max(len(parts), 1)), 1)
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[i : i + columns], 1) for i in range(0, len(tiles), columns)]
    return np.concatenate(rows).round().astype(np.uint8).repeat(zoom, 0).repeat(zoom, 1)


def _flat(x: Tensor) -> Float[Tensor, "n c h w"]:
    if x.ndim == 3:
        return x[:, :, None].expand(-1, -1, 8, -1)
    return x[:, :, x.shape[2] // 2] if x.ndim == 5 else x


def save_grid(
    path: str | os.PathLike[str],
    x: Float[Tensor, "n c *space"],
    channels: tuple[str, ...],
    *,
    span: tuple[float, float] = (-1.0, 1.0),
) -> None:
    """Write `patch_grid` as a PNG.

    Raises:
        OSError: If it cannot be written.
    """
    from PIL import Image

    picture = Image.fromarray(patch_grid(x, channels, span=span))
    write_beside(Path(path), lambda beside: picture.save(beside, format="PNG"))
