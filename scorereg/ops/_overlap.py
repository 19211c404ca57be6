"""Overlapping blocks of one tensor: views of them, and sums into them in a fixed order."""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

__all__ = ["add_in_order", "views_at"]

_Tensors = list[Tensor] | tuple[Tensor, ...]


def views_at(x: Tensor, corners: Int[Tensor, "n d"], sizes: Sequence[Sequence[int]]) -> list[Tensor]:
    """Views of blocks of the last d axes of `x`, which they must lie in; other axes are whole.

    Args:
        x: Of d axes at least, with any strides.
        corners: First element of each block.
        sizes: Size of each block.
    """
    others, strides, d = x.shape[: -corners.shape[1]], x.stride(), corners.shape[1]
    offsets = (corners * corners.new_tensor(strides[-d:])).sum(1) + int(x.storage_offset())
    view = x.as_strided
    return [view((*others, *size), strides, offset) for size, offset in zip(sizes, offsets.tolist(), strict=True)]


def add_in_order(targets: list[Tensor], blocks: _Tensors, weights: list[Tensor] | None = None) -> None:
    """Add each block, times its weight if there are weights, to its target, one after the other.

    So targets, which are changed in place, may overlap, and sums are the same on every run.
    """
    if not targets:
        return
    if targets[0].is_cuda:  # where a `foreach` is one launch, in no order
        for i, target in enumerate(targets):
            target += blocks[i] if weights is None else blocks[i] * weights[i]
    elif weights is None:
        torch._foreach_add_(targets, blocks)
    else:
        torch._foreach_addcmul_(targets, blocks, weights)
