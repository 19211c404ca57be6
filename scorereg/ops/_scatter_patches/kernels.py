"""Triton kernels of `scatter_patches`: one program for BLOCK pixels of one block, which goes through the channels.

All blocks have three dimensions here, the first of size 1 where there are fewer. Sums are float32 and added by atomics;
neighbouring lanes add to neighbouring addresses. Backward reads where forward wrote. Offsets are int64.
"""

import math
from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["scatter_patches_triton"]

_BLOCK = 256


def scatter_patches_triton(
    patches: Float[Tensor, "b c *block"],
    corners: Int[Tensor, "b d"],
    index: Int[Tensor, " b"],
    window: Float[Tensor, "*block"],
    shape: tuple[int, ...],
) -> tuple[Float[Tensor, "n c *space"], Float[Tensor, "n *space"]]:
    """As `scatter_patches`; the shape's first size is the number of results."""
    return _Scatter.apply(patches, corners, index, window, shape)


class _Scatter(torch.autograd.Function):
    @staticmethod
    def forward(ctx, patches, corners, index, window, shape):
        flat = torch.nn.functional.pad(corners, (3 - corners.shape[1], 0)).long()
        places = torch.cat([index[:, None].long(), flat], 1).contiguous()
        window = window.float().contiguous()
        sums = torch.zeros(shape[0], patches.shape[1], *shape[1:], device=patches.device)
        total = torch.zeros(shape, device=patches.device)
        _launch(_forward, patches.contiguous(), places, window, sums, total)
        ctx.save_for_backward(places, window, total)
        ctx.block, ctx.dtype = patches.shape, patches.dtype
        ctx.mark_non_differentiable(total)
        return sums.div_(torch.where(total > 0, total, 1)[:, None]).to(patches.dtype), total

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, _):  # pyright: ignore[reportIncompatibleMethodOverride]
        places, window, total = ctx.saved_tensors
        out = torch.empty(ctx.block, dtype=ctx.dtype, device=grad.device)
        _launch(_backward, out, places, window, grad.contiguous(), total)
        return out, None, None, None, None


def _launch(kernel, patches: Tensor, places: Tensor, window: Tensor, values: Tensor, total: Tensor) -> None:
    sizes = (1,) * (3 - window.ndim) + tuple(window.shape)
    space = (1,) * (3 - window.ndim) + tuple(total.shape[1:])
    programs = len(patches) * triton.cdiv(window.numel(), _BLOCK)
    if programs:
        kernel[(programs,)](
            patches, places, window, values, total, patches.shape[1], math.prod(space), *sizes, *space, _BLOCK
        )


@no_type_check
@triton.jit
def _place(place_ptr, A, B, C, D, H, W, BLOCK: tl.constexpr):
    """Block, pixels in it, their places in the space of one result, and whether they are in both; and the result."""
    volume = A * B * C
    blocks = tl.cdiv(volume, BLOCK)
    block = (tl.program_id(0) // blocks).to(tl.int64)
    pixel = (tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)
    z = tl.load(place_ptr + block * 4 + 1) + pixel // (B * C)
    y = tl.load(place_ptr + block * 4 + 2) + pixel // C % B
    x = tl.load(place_ptr + block * 4 + 3) + pixel % C
    owned = pixel < volume
    inside = owned & (z >= 0) & (z < D) & (y >= 0) & (y < H) & (x >= 0) & (x < W)
    return block, pixel, (z * H + y) * W + x, owned, inside, tl.load(place_ptr + block * 4)


@no_type_check
@triton.jit
def _forward(
    patch_ptr, place_ptr, window_ptr, sum_ptr, total_ptr, channels, space, A, B, C, D, H, W, BLOCK: tl.constexpr
):
    block, pixel, at, _, inside, n = _place(place_ptr, A, B, C, D, H, W, BLOCK)
    weight = tl.load(window_ptr + pixel, mask=inside, other=0.0)
    tl.atomic_add(total_ptr + n * space + at, weight, mask=inside)
    source = block * channels * (A * B * C) + pixel
    at += n * channels * space
    for _ in range(channels):
        value = tl.load(patch_ptr + source, mask=inside, other=0.0).to(tl.float32)
        tl.atomic_add(sum_ptr + at, weight * value, mask=inside)
        source += A * B * C
        at += space


@no_type_check
@triton.jit
def _backward(
    patch_ptr, place_ptr, window_ptr, grad_ptr, total_ptr, channels, space, A, B, C, D, H, W, BLOCK: tl.constexpr
):
    block, pixel, at, owned, inside, n = _place(place_ptr, A, B, C, D, H, W, BLOCK)
    weight = tl.load(window_ptr + pixel, mask=inside, other=0.0)
    total = tl.load(total_ptr + n * space + at, mask=inside, other=1.0)
    share = tl.where(total > 0, weight / tl.where(total > 0, total, 1.0), 0.0)
    to = block * channels * (A * B * C) + pixel
    at += n * channels * space
    for _ in range(channels):
        grad = tl.load(grad_ptr + at, mask=inside, other=0.0).to(tl.float32)
        tl.store(patch_ptr + to, share * grad, mask=owned)
        to += A * B * C
        at += space
