"""Triton kernels of `scatter_patches`: one program for BLOCK pixels of one block, which loops over the channels.

Blocks have three dimensions here, the first of size 1 where there are fewer. Sums are float32 and added by atomics;
neighboring lanes add to neighboring addresses. Backward reads where forward wrote. Offsets are int64.
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
    window: Float[Tensor, "*block"],
    shape: tuple[int, ...],
) -> tuple[Float[Tensor, "c *space"], Float[Tensor, "*space"]]:
    """`scatter_patches` by kernels."""
    return _Scatter.apply(patches, corners, window, shape)


class _Scatter(torch.autograd.Function):
    @staticmethod
    def forward(ctx, patches, corners, window, shape):
        places = torch.nn.functional.pad(corners.to(patches.device), (3 - corners.shape[1], 0)).long().contiguous()
        window = window.float().contiguous()
        sums = torch.zeros(patches.shape[1], *shape, device=patches.device)
        total = torch.zeros(shape, device=patches.device)
        _launch(_forward, patches.contiguous(), places, window, sums, total)
        ctx.save_for_backward(places, window, total)
        ctx.block, ctx.dtype = patches.shape, patches.dtype
        ctx.mark_non_differentiable(total)
        return sums.div_(torch.where(total > 0, total, 1)).to(patches.dtype), total

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, _):  # pyright: ignore[reportIncompatibleMethodOverride]
        places, window, total = ctx.saved_tensors
        out = torch.empty(ctx.block, dtype=ctx.dtype, device=grad.device)
        _launch(_backward, out, places, window, grad.contiguous(), total)
        return out, None, None, None


def _launch(kernel, patches: Tensor, places: Tensor, window: Tensor, values: Tensor, total: Tensor) -> None:
    sizes = (1,) * (3 - window.ndim) + tuple(window.shape)
    space = (1,) * (3 - window.ndim) + tuple(total.shape)
    programs = len(patches) * triton.cdiv(window.numel(), _BLOCK)
    if programs:
        kernel[(programs,)](
            patches, places, window, values, total, patches.shape[1], math.prod(space), *sizes, *space, _BLOCK
        )


@no_type_check
@triton.jit
def _place(place_ptr, A, B, C, D, H, W, channels, BLOCK: tl.constexpr):
    """Pixels of a block, their offsets in the blocks and the result, and whether they lie in the block, and in both."""
    volume = A * B * C
    blocks = tl.cdiv(volume, BLOCK)
    block = (tl.program_id(0) // blocks).to(tl.int64)
    pixel = (tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)
    z = tl.load(place_ptr + block * 3) + pixel // (B * C)
    y = tl.load(place_ptr + block * 3 + 1) + pixel // C % B
    x = tl.load(place_ptr + block * 3 + 2) + pixel % C
    owned = pixel < volume
    inside = owned & (z >= 0) & (z < D) & (y >= 0) & (y < H) & (x >= 0) & (x < W)
    return pixel, block * channels * volume + pixel, (z * H + y) * W + x, owned, inside


@no_type_check
@triton.jit
def _forward(
    patch_ptr, place_ptr, window_ptr, sum_ptr, total_ptr, channels, space, A, B, C, D, H, W, BLOCK: tl.constexpr
):
    pixel, source, at, _, inside = _place(place_ptr, A, B, C, D, H, W, channels, BLOCK)
    weight = tl.load(window_ptr + pixel, mask=inside, other=0.0)
    tl.atomic_add(total_ptr + at, weight, mask=inside)
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
    pixel, to, at, owned, inside = _place(place_ptr, A, B, C, D, H, W, channels, BLOCK)
    weight = tl.load(window_ptr + pixel, mask=inside, other=0.0)
    total = tl.load(total_ptr + at, mask=inside, other=1.0)
    share = tl.where(total > 0, weight / tl.where(total > 0, total, 1.0), 0.0)
    for _ in range(channels):
        grad = tl.load(grad_ptr + at, mask=inside, other=0.0).to(tl.float32)
        tl.store(patch_ptr + to, share * grad, mask=owned)
        to += A * B * C
        at += space
