"""Triton kernels of `gather_patches`: one program for BLOCK pixels of one patch and some channels.

Footprints come as two pairs of float64 for each row and column of a patch; relative to their first texel they are
float32. Neighboring lanes read neighboring texels. Gradients are added by atomics in float32. Offsets are int64.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from scorereg.ops._gather_patches.eager import Ends, Images, Index

__all__ = ["gather_patches_triton"]

_BLOCK = 256  # a patch of 24 x 24 is three programs, one of 48 x 48 nine: enough to fill a GPU from some 100 patches on
_CHANNELS = 8  # at most in one program: their sums are kept in registers


def gather_patches_triton(images: Images, low: Ends, high: Ends, index: Index) -> Float[Tensor, "b c p p"]:
    """`gather_eager` by kernels."""
    return _Gather.apply(images, low, high, index.to(images.device))  # pyright: ignore[reportReturnType]


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, images, low, high, index):
        ends = torch.stack([low, high], -1).to(images.device)  # [b, p, x and y, low and high]
        ctx.save_for_backward(images, ends, index)
        out = torch.empty(len(ends), images.shape[1], *2 * ends.shape[1:2], dtype=images.dtype, device=images.device)
        _launch(_forward, images, ends, index, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):  # pyright: ignore[reportIncompatibleMethodOverride]
        images, ends, index = ctx.saved_tensors
        to_images, to_ends, *_ = ctx.needs_input_grad
        total = torch.zeros(images.shape, device=images.device) if to_images else None
        dends = torch.zeros(ends.shape, device=ends.device) if to_ends else None
        _launch(_backward, images, ends, index, grad.contiguous(), total, dends)
        dlow, dhigh = (None, None) if dends is None else dends.double().unbind(-1)
        return None if total is None else total.to(images.dtype), dlow, dhigh, None


def _launch(kernel, images: Tensor, ends: Tensor, *given) -> None:
    _, c, h, w = images.shape
    size = ends.shape[1]
    together = min(triton.next_power_of_2(max(c, 1)), _CHANNELS)
    programs = (len(ends) * triton.cdiv(size * size, _BLOCK), triton.cdiv(c, together))
    if all(programs):
        kernel[programs](images, ends, *given, *images.stride(), c, h, w, size, together, _BLOCK)


@no_type_check
@triton.jit
def _pixels(size, BLOCK: tl.constexpr):
    """Patch of a program and its pixels; which of them there are; where their columns' and rows' footprints stand."""
    blocks = tl.cdiv(size * size, BLOCK)
    patch = (tl.program_id(0) // blocks).to(tl.int64)
    pixel = (tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)
    return patch, pixel, pixel < size * size, (patch * size + pixel % size) * 4, (patch * size + pixel // size) * 4 + 2


@no_type_check
@triton.jit
def _footprint(end_ptr, at, owned):
    """First texel of each footprint, both ends from there on, and the number of texels that a loop has to visit."""
    low, high = tl.load(end_ptr + at, mask=owned, other=0.0), tl.load(end_ptr + at + 1, mask=owned, other=0.0)
    first = tl.floor(low)
    high = (high - first).to(tl.float32)
    return first.to(tl.int64), (low - first).to(tl.float32), high, tl.max(tl.floor(high), 0).to(tl.int32) + 1


@no_type_check
@triton.jit
def _share(low, high, texel):
    """Share of each footprint that lies in a texel, 0 of an empty one."""
    overlap = tl.maximum(tl.minimum(high, texel + 1.0) - tl.maximum(low, texel * 1.0), 0.0)
    return overlap / tl.where(high > low, high - low, 1.0)


@no_type_check
@triton.jit
def _slope(low, high, end, texel):
    """Derivative of `_share` to one of the ends, but for the sign: the low end has the opposite one."""
    gains = tl.where((end >= texel) & (end < texel + 1.0), 1.0, 0.0)
    return tl.where(high > low, (gains - _share(low, high, texel)) / tl.where(high > low, high - low, 1.0), 0.0)


@no_type_check
@triton.jit
def _forward(
    image_ptr, end_ptr, index_ptr, out_ptr, sn, sc, sh, sw, C, H, W, size, CP: tl.constexpr, BLOCK: tl.constexpr
):
    patch, pixel, owned, at_x, at_y = _pixels(size, BLOCK)
    left, x0, x1, columns = _footprint(end_ptr, at_x, owned)
    top, y0, y1, rows = _footprint(end_ptr, at_y, owned)
    c = tl.program_id(1).to(tl.int64) * CP + tl.arange(0, CP)[:, None]
    image_ptr += tl.load(index_ptr + patch).to(tl.int64) * sn + c * sc
    total = tl.zeros([CP, BLOCK], tl.float32)
    for row in range(rows):
        for column in range(columns):
            share = _share(y0, y1, row) * _share(x0, x1, column)
            at = (top + row) * sh + (left + column) * sw
            value = tl.load(image_ptr + at[None, :], mask=(c < C) & (share > 0)[None, :], other=0.0)
            total += share[None, :] * value.to(tl.float32)
    tl.store(out_ptr + (patch * C + c) * size * size + pixel[None, :], total, mask=(c < C) & owned[None, :])


@no_type_check
@triton.jit
def _backward(
    image_ptr, end_ptr, index_ptr, grad_ptr, total_ptr, dend_ptr, sn, sc, sh, sw, C, H, W, size,
    CP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    patch, pixel, owned, at_x, at_y = _pixels(size, BLOCK)
    left, x0, x1, columns = _footprint(end_ptr, at_x, owned)
    top, y0, y1, rows = _footprint(end_ptr, at_y, owned)
    c = tl.program_id(1).to(tl.int64) * CP + tl.arange(0, CP)[:, None]
    n = tl.load(index_ptr + patch).to(tl.int64)
    image_ptr += n * sn + c * sc
    both = (c < C) & owned[None, :]
    g = tl.load(grad_ptr + (patch * C + c) * size * size + pixel[None, :], mask=both, other=0.0).to(tl.float32)
    dx0, dx1 = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
    dy0, dy1 = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
    for row in range(rows):
        down = _share(y0, y1, row)
        for column in range(columns):
            right = _share(x0, x1, column)
            if total_ptr is not None:  # which is contiguous
                to = ((n * C + c) * H + (top + row)[None, :]) * W + (left + column)[None, :]
                tl.atomic_add(total_ptr + to, g * (down * right)[None, :], mask=both & (down * right > 0)[None, :])
            if dend_ptr is not None:
                at = (top + row) * sh + (left + column) * sw
                seen = both & ((left + column < W) & (top + row < H))[None, :]
                pull = tl.sum(g * tl.load(image_ptr + at[None, :], mask=seen, other=0.0).to(tl.float32), 0)
                dx0 -= pull * down * _slope(x0, x1, x0, column)
                dx1 += pull * down * _slope(x0, x1, x1, column)
                dy0 -= pull * right * _slope(y0, y1, y0, row)
                dy1 += pull * right * _slope(y0, y1, y1, row)
    if dend_ptr is not None:
        tl.atomic_add(dend_ptr + at_x, dx0, mask=owned)
        tl.atomic_add(dend_ptr + at_x + 1, dx1, mask=owned)
        tl.atomic_add(dend_ptr + at_y, dy0, mask=owned)
        tl.atomic_add(dend_ptr + at_y + 1, dy1, mask=owned)
