"""Windows: the parts of images that patches look at, as views, and a few of them at a time."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["parts", "windows"]

_CHUNK = 1 << 18  # values of windows at a time and thread: they stay in its cache, and threads seldom wait


def windows(
    images: Float[Tensor, "n c h w"], corner: Int[Tensor, "b 2"], index: Int[Tensor, " b"], rows: int, columns: int
) -> list[Float[Tensor, "c {rows} {columns}"]]:
    """The window of each patch, a view; `corner` is the column and row of its first texel."""
    sn, sc, sh, sw = images.stride()
    shape, strides = (images.shape[1], rows, columns), (sc, sh, sw)
    offsets = index * sn + corner @ corner.new_tensor([sw, sh]) + int(images.storage_offset())
    return [images.as_strided(shape, strides, offset) for offset in offsets.tolist()]


def parts(images: Tensor, count: int, area: int) -> list[slice]:
    """Some windows at a time, of `count` that have `area` texels each."""
    step = max(_CHUNK * torch.get_num_threads() // max(images.shape[1] * area, 1), 1)
    return [slice(start, start + step) for start in range(0, count, step)]
