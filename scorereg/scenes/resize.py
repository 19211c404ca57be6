"""Reduction of photos and depth maps by whole factors, and removal of lens distortion."""

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

__all__ = ["check_sizes", "reduce_depth", "reduce_image", "reduction", "undistort"]


def check_sizes(sizes: Mapping[Path, tuple[int, int]]) -> tuple[int, int]:
    """Return the size that all images share.

    Raises:
        ValueError: If an image has another size than the first.
    """
    first, size = next(iter(sizes.items()))
    for path, other in sizes.items():
        if other != size:
            raise ValueError(
                f"{path}: {other[0]}x{other[1]} pixels, but {first.name} has {size[0]}x{size[1]}; "
                "all images of a scene must have one size: resize or remove it."
            )
    return size


def reduction(width: int, height: int, max_size: int | None) -> int:
    """Smallest whole factor that reduces the longer side to at most `max_size` pixels."""
    return 1 if max_size is None else math.ceil(max(width, height) / max_size)


def reduce_image(image: Float[Tensor, "h w c"], step: int) -> Float[Tensor, "i j c"]:
    """Means over `step` x `step` pixels; rows and columns that are left over are cut off."""
    if step == 1:
        return image
    height, width = (n - n % step for n in image.shape[:2])
    return reduce(image[:height, :width], "(h a) (w b) c -> h w c", "mean", a=step, b=step)


def reduce_depth(depth: Float[Tensor, "h w"], step: int) -> Float[Tensor, "i j"]:
    """Every `step`-th pixel, next to the middle of its block, so that depths are not averaged across an edge."""
    height, width = (n - n % step for n in depth.shape)
    return depth[step // 2 : height : step, step // 2 : width : step]


def undistort(
    image: Float[Tensor, "h w c"],
    focal: Float[Tensor, " 2"],
    center: Float[Tensor, " 2"],
    distortion: Float[Tensor, " 5"],
    *,
    mode: str = "bilinear",
) -> Float[Tensor, "h w c"]:
    """Remove lens distortion: the image of a pinhole camera with the same intrinsics.

    Brown's model, in OpenCV's order: with (x, y) on the plane z = 1 and r^2 = x^2 + y^2, the lens moves x to
    `x (1 + k1 r^2 + k2 r^4 + k3 r^6) + 2 p1 x y + p2 (r^2 + 2 x^2)`, and y alike.

    Args:
        image: Distorted image. Pixels that it does not cover repeat its border, or are 0 for `mode="nearest"`.
        focal: fx, fy in pixels.
        center: cx, cy in pixels.
        distortion: k1, k2, p1, p2, k3.
        mode: `"bilinear"` for photos, `"nearest"` for depth.
    """
    height, width = image.shape[:2]
    v, u = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    xy = (torch.stack([u, v], -1) - center) / focal
    k1, k2, p1, p2, k3 = distortion.tolist()
    x, y = xy.unbind(-1)
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    bent = torch.stack(
        [x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y], -1
    )
    grid = 2 * (bent * focal + center) / torch.tensor([width, height]) - 1
    padding = "border" if mode == "bilinear" else "zeros"
    source = rearrange(image, "h w c -> 1 c h w")
    moved = functional.grid_sample(source, grid[None], mode=mode, padding_mode=padding, align_corners=False)
    return rearrange(moved, "1 c h w -> h w c")
