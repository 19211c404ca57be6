"""Reduction of photos, masks and depth maps by whole factors."""

import math

from einops import rearrange, reduce
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["reduce_depth", "reduce_image", "reduce_mask", "reduction"]


def reduction(width: int, height: int, max_size: int | None) -> int:
    """Smallest whole factor that reduces the longer side to at most `max_size` pixels."""
    return 1 if max_size is None else math.ceil(max(width, height) / max_size)


def reduce_image(image: Float[Tensor, "h w c"], step: int) -> Float[Tensor, "i j c"]:
    """Means over `step` x `step` pixels; rows and columns that are left over are cut off."""
    if step == 1:
        return image
    height, width = (n - n % step for n in image.shape[:2])
    return reduce(image[:height, :width], "(h a) (w b) c -> h w c", "mean", a=step, b=step)


def reduce_mask(mask: Bool[Tensor, "h w"], step: int) -> Bool[Tensor, "i j"]:
    """Whether all of `step` x `step` pixels count."""
    height, width = (n - n % step for n in mask.shape)
    return rearrange(mask[:height, :width], "(h a) (w b) -> h w (a b)", a=step, b=step).all(-1)


def reduce_depth(depth: Float[Tensor, "h w"], step: int) -> Float[Tensor, "i j"]:
    """Every `step`-th pixel, next to the middle of its block, so that depths are not averaged across an edge."""
    height, width = (n - n % step for n in depth.shape)
    return depth[step // 2 : height : step, step // 2 : width : step]
