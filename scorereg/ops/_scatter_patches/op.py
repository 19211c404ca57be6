r"""Blocks put together, overlaps averaged: the inverse of cutting blocks at whole pixels, in 1, 2 or 3 dimensions.

$$ \mathrm{out}(p) = \frac{\sum_k w(p - s_k)\, x_k(p - s_k)}{\sum_k w(p - s_k)} $$

with the blocks x_k, their corners s_k (the first pixel of each) and the window w.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from scorereg.ops._overlap import add_in_order, views_at
from scorereg.ops.dispatch import use_triton

__all__ = ["scatter_patches", "scatter_patches_reference"]

Blocks = Float[Tensor, "b c *block"]
Corners = Int[Tensor, "b d"]
Window = Float[Tensor, "*block"]


def scatter_patches(
    patches: Blocks, corners: Corners, shape: tuple[int, ...], *, window: Window | None = None
) -> tuple[Float[Tensor, "c *space"], Float[Tensor, "*space"]]:
    """Average overlapping blocks, each weighted by a window. Differentiable once, to the blocks.

    Plain torch adds the blocks in their order, so that every run gives the same. The kernel adds by atomics, in any
    order; it is not taken under `torch.use_deterministic_algorithms(True)`.

    Args:
        patches: Blocks of d dimensions. Sums are float32 (float64 of float64).
        corners: First pixel of each block, in the order of the block's axes; pixels outside the result are left out.
        shape: Sizes of the result's d axes.
        window: Weight of each pixel of a block, >= 0; 1 if not given.

    Returns:
        The averages, 0 where there is no block, in the blocks' dtype; and the sums of the weights.

    Raises:
        ValueError: If blocks, corners and shape do not have the same one to three dimensions.
    """
    d = patches.ndim - 2
    if not 1 <= d <= 3 or corners.shape[1:] != (d,) or len(shape) != d:
        raise ValueError(
            "scatter_patches puts blocks of 1 to 3 dimensions together, and needs as many coordinates and sizes: "
            f"got blocks of {d}, corners of shape {tuple(corners.shape)} and the shape {tuple(shape)}."
        )
    window = torch.ones(patches.shape[2:], device=patches.device) if window is None else window.detach()
    if use_triton(patches, window) and not torch.are_deterministic_algorithms_enabled():
        from scorereg.ops._scatter_patches.kernels import scatter_patches_triton  # imported only where it can run

        return scatter_patches_triton(patches, corners, window, shape)
    return _Scatter.apply(patches, corners, window, shape)


def scatter_patches_reference(
    patches: Blocks, corners: Corners, shape: tuple[int, ...], *, window: Window | None = None
) -> tuple[Float[Tensor, "c *space"], Float[Tensor, "*space"]]:
    """The definition of `scatter_patches`, one pixel of all blocks at a time, with torch's own gradients."""
    window = patches.new_ones(patches.shape[2:]) if window is None else window
    sums, total = patches.new_zeros(*shape, patches.shape[1]), patches.new_zeros(shape)
    for place in torch.cartesian_prod(*(torch.arange(n) for n in patches.shape[2:])).reshape(-1, len(shape)):
        at = corners + place.to(corners.device)
        inside = ((at >= 0) & (at < torch.tensor(shape, device=at.device))).all(1)
        where, weight = tuple(at[inside].unbind(1)), window[tuple(place)]
        total = total.index_put(where, weight.expand(int(inside.sum())), accumulate=True)
        sums = sums.index_put(where, weight * patches[(inside, slice(None), *place.tolist())], accumulate=True)
    return torch.where(total > 0, sums.movedim(-1, 0) / torch.where(total > 0, total, 1), 0), total


class _Scatter(torch.autograd.Function):
    """Block by block, as sums of strided views. Its context is set up apart, for torch.func."""

    @staticmethod
    def forward(patches, corners, window, shape):  # pyright: ignore[reportIncompatibleMethodOverride]
        values = patches if patches.dtype == torch.float64 else patches.float()
        window = window.to(values)
        sums, total = values.new_zeros(patches.shape[1], *shape), values.new_zeros(1, *shape)
        blocks = _inside(values, corners, shape)
        weights = _inside(window.expand(len(values), 1, *window.shape), corners, shape)
        add_in_order(_targets(sums, corners, blocks), blocks, weights)
        add_in_order(_targets(total, corners, weights), weights)
        return sums.div_(torch.where(total > 0, total, 1)).to(patches.dtype), total[0]

    @staticmethod
    def setup_context(ctx, inputs, output):
        patches, corners, window, _ = inputs
        ctx.block, ctx.dtype = patches.shape, patches.dtype
        ctx.save_for_backward(corners, window.to(output[1]), output[1])
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, _):  # pyright: ignore[reportIncompatibleMethodOverride]
        corners, window, total = ctx.saved_tensors
        share = grad.to(total) / torch.where(total > 0, total, 1)
        out = total.new_zeros(ctx.block)
        blocks = _inside(out, corners, share.shape[1:])
        torch._foreach_copy_(blocks, _targets(share, corners, blocks))
        return out.mul_(window).to(ctx.dtype), None, None, None


def _inside(blocks: Blocks, corners: Corners, shape: tuple[int, ...]) -> list[Tensor]:
    """The part of each block that lies in the result: views, some of them empty."""
    block = corners.new_tensor(blocks.shape[2:])
    low, high = (-corners).clamp_min(0), torch.minimum(corners.new_tensor(shape) - corners, block)
    parts = list(blocks.unbind(0))
    for k in ((low > 0) | (high < block)).any(1).nonzero()[:, 0].tolist():
        ends = zip(low[k].tolist(), high[k].tolist(), strict=True)
        parts[k] = parts[k][(slice(None), *(slice(a, max(a, b)) for a, b in ends))]
    return parts


def _targets(x: Tensor, corners: Corners, parts: list[Tensor]) -> list[Tensor]:
    """Where in the result they lie."""
    return views_at(x, corners.clamp_min(0), [part.shape[1:] for part in parts])
