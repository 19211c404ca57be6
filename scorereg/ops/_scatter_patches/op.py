r"""Tiles put back together, overlaps averaged: the inverse of cutting blocks at whole pixels, in 1, 2 or 3 dimensions.

$$ \mathrm{out}(p) = \frac{\sum_k w(p - s_k)\, x_k(p - s_k)}{\sum_k w(p - s_k)} $$

with s_k the corner of block k, its first pixel, and w the window.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from scorereg.ops.dispatch import use_triton

__all__ = ["scatter_patches", "scatter_patches_reference"]


def scatter_patches(
    patches: Float[Tensor, "b c *block"],
    corners: Int[Tensor, "b d"],
    shape: tuple[int, ...],
    *,
    window: Float[Tensor, "*block"] | None = None,
    index: Int[Tensor, " b"] | None = None,
    count: int = 1,
) -> tuple[Float[Tensor, "{count} c *space"], Float[Tensor, "{count} *space"]]:
    """Average overlapping blocks, each weighted by a window. Differentiable once, to the blocks.

    On a CPU blocks are added in their order, so every run gives the same; the kernel adds by atomics, in any order.

    Args:
        patches: Blocks of d dimensions; of float16 or bfloat16, sums are float32.
        corners: First pixel of each, in the order of the block's axes; what lies outside is left out.
        shape: Of the d axes of the result.
        window: Weight of a block's pixels, >= 0; all alike, if not given.
        index: Which result each block is of; all of the first, if not given.
        count: Number of results.

    Returns:
        The averages, 0 where no block lies, in the blocks' dtype; and the sums of the weights there.

    Raises:
        ValueError: If the dimensions of the blocks, corners and shape are not one to three, or not the same.
    """
    d = patches.ndim - 2
    if not 1 <= d <= 3 or corners.shape[1:] != (d,) or len(shape) != d:
        raise ValueError(
            "scatter_patches puts blocks of 1 to 3 dimensions together, and needs as many coordinates and sizes: "
            f"got blocks of {d}, corners of shape {tuple(corners.shape)} and the shape {tuple(shape)}."
        )
    window = torch.ones(patches.shape[2:], device=patches.device) if window is None else window.detach()
    index = torch.zeros(len(patches), dtype=torch.long, device=patches.device) if index is None else index
    given = (patches, corners, index, window, (count, *shape))
    if use_triton(patches, window):
        from scorereg.ops._scatter_patches.kernels import scatter_patches_triton  # imported only where it can run

        return scatter_patches_triton(*given)
    return _Scatter.apply(*given)


def scatter_patches_reference(
    patches: Float[Tensor, "b c *block"],
    corners: Int[Tensor, "b d"],
    shape: tuple[int, ...],
    *,
    window: Float[Tensor, "*block"] | None = None,
    index: Int[Tensor, " b"] | None = None,
    count: int = 1,
) -> tuple[Float[Tensor, "{count} c *space"], Float[Tensor, "{count} *space"]]:
    """The definition, pixel by pixel of a block, with torch's own gradients: what the others are tested against."""
    window = patches.new_ones(patches.shape[2:]) if window is None else window
    index = torch.zeros(len(patches), dtype=torch.long) if index is None else index
    sums, total = patches.new_zeros(count, patches.shape[1], *shape), patches.new_zeros(count, *shape)
    for place in torch.cartesian_prod(*(torch.arange(n) for n in patches.shape[2:])).reshape(-1, len(shape)):
        at = corners + place.to(corners.device)
        inside = ((at >= 0) & (at < torch.tensor(shape, device=at.device))).all(1)
        where = (index[inside], *at[inside].unbind(1))
        weight = window[tuple(place)]
        total = total.index_put(where, weight.expand(int(inside.sum())), accumulate=True)
        value = weight * patches[(inside, slice(None), *place.tolist())]
        sums = sums.movedim(1, -1).index_put(where, value, accumulate=True).movedim(-1, 1)
    return torch.where(total[:, None] > 0, sums / torch.where(total > 0, total, 1)[:, None], 0), total


class _Scatter(torch.autograd.Function):
    """Block by block, as strided sums."""

    @staticmethod
    def forward(ctx, patches, corners, index, window, shape):
        values = patches if patches.dtype == torch.float64 else patches.float()
        window = window.to(values)
        sums, total = values.new_zeros(shape[0], patches.shape[1], *shape[1:]), values.new_zeros(shape)
        places = list(zip(index.tolist(), _overlaps(corners.tolist(), window.shape, shape[1:]), strict=True))
        for patch, (n, (inside, target)) in zip(values * window, places, strict=True):
            sums[(n, slice(None), *target)] += patch[(slice(None), *inside)]
            total[(n, *target)] += window[inside]
        ctx.places, ctx.block, ctx.dtype = places, patches.shape, patches.dtype
        ctx.save_for_backward(window, total)
        ctx.mark_non_differentiable(total)
        return sums.div_(torch.where(total > 0, total, 1)[:, None]).to(patches.dtype), total

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, _):  # pyright: ignore[reportIncompatibleMethodOverride]
        window, total = ctx.saved_tensors
        share = grad.to(total) / torch.where(total > 0, total, 1)[:, None]
        out = total.new_zeros(ctx.block)
        for patch, (n, (inside, target)) in zip(out.unbind(0), ctx.places, strict=True):
            patch[(slice(None), *inside)] = share[(n, slice(None), *target)]
        return out.mul_(window).to(ctx.dtype), None, None, None, None


def _overlaps(corners: list[list[int]], block: tuple[int, ...], shape: tuple[int, ...]):
    """Which part of each block lies inside, and where."""
    for corner in corners:
        low = [max(-c, 0) for c in corner]
        high = [max(min(n, size - c), a) for c, n, size, a in zip(corner, block, shape, low, strict=True)]
        inside = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        yield inside, tuple(slice(a + c, b + c) for a, b, c in zip(low, high, corner, strict=True))
