"""Triton kernels of `gather_patches`: one program for BLOCK pixels of one patch and some channels.

Footprints are computed in float64, in registers, from four numbers a patch, and relative to their first texel in
float32, so that only texels and results move through memory. Neighboring lanes read neighboring texels. The gradient to
the images is added by atomics in float32; the one to a center is summed within a program, one pair of numbers for each,
which torch adds up. Offsets are int64.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from scorereg.ops._gather_patches.eager import Images, Index, Pairs

__all__ = ["gather_patches_triton"]

_BLOCK = 256  # a patch of 24 x 24 is three programs, one of 48 x 48 nine: enough to fill a GPU from some 100 patches on
_CHANNELS = 8  # at most in one program: their sums are kept in registers


def gather_patches_triton(
    images: Images, centers: Pairs, scale: Pairs, index: Index, size: int
) -> tuple[Float[Tensor, "b c {size} {size}"], Bool[Tensor, "b c {size} {size}"]]:
    """`gather_patches` by kernels; centers and scales in float64."""
    patches, known = _Gather.apply(images, centers, scale, index.to(images.device), size)
    return patches, known[:, None].expand(patches.shape)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, images, centers, scale, index, size):
        place = torch.cat([centers, scale], 1).to(images.device)
        ctx.save_for_backward(images, place, index)
        out = torch.empty(len(place), images.shape[1], size, size, dtype=images.dtype, device=images.device)
        known = torch.empty(len(place), size, size, dtype=torch.bool, device=images.device)
        _launch(_forward, images, place, index, out, known, size)
        ctx.mark_non_differentiable(known)
        return out, known

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, _):  # pyright: ignore[reportIncompatibleMethodOverride]
        images, place, index = ctx.saved_tensors
        to_images, to_centers = ctx.needs_input_grad[:2]
        total = torch.zeros(images.shape, device=images.device) if to_images else None
        programs, _ = _programs(images, place, grad.shape[-1])
        parts = torch.zeros(*programs, 2, device=images.device) if to_centers else None
        _launch(_backward, images, place, index, grad.contiguous(), total, parts, grad.shape[-1])
        dcenters = None if parts is None else parts.reshape(len(place), -1, 2).sum(1).double()
        return None if total is None else total.to(images.dtype), dcenters, None, None, None


def _programs(images: Tensor, place: Tensor, size: int) -> tuple[tuple[int, int], int]:
    """Programs along pixels and along channels, and how many channels one computes."""
    together = min(triton.next_power_of_2(max(images.shape[1], 1)), _CHANNELS)
    return (len(place) * triton.cdiv(size * size, _BLOCK), triton.cdiv(images.shape[1], together)), together


def _launch(kernel, images: Tensor, place: Tensor, *given) -> None:
    *given, size = given
    programs, together = _programs(images, place, size)
    if all(programs):
        kernel[programs](
            images, place.contiguous(), *given, *images.stride(), *images.shape[1:], size, together, _BLOCK
        )


@no_type_check
@triton.jit
def _pixels(size, BLOCK: tl.constexpr):
    """Patch of a program, its pixels, which of them there are, and their columns and rows from the patch's middle."""
    blocks = tl.cdiv(size * size, BLOCK)
    patch = (tl.program_id(0) // blocks).to(tl.int64)
    pixel = (tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)
    middle = (size - 1) * 0.5
    return (
        patch,
        pixel,
        pixel < size * size,
        (pixel % size).to(tl.float64) - middle,
        (pixel // size).to(tl.float64) - middle,
    )


@no_type_check
@triton.jit
def _footprint(place_ptr, offset, extent):
    """A pixel's footprint along an axis.

    Returns its first texel, both ends relative to that, how many texels a loop has to visit, whether the middle lies in
    the image, and whether each end moves with it.
    """
    scale = tl.load(place_ptr + 2)
    half = tl.maximum(scale, 1.0) * 0.5
    middle = tl.load(place_ptr) + scale * offset
    inside = (middle >= 0) & (middle <= extent)  # nothing that is not a number is
    middle = tl.where(inside, middle, 0.0)
    low, high = middle - half, middle + half
    moves_low, moves_high = low > 0, high < extent
    low, high = tl.maximum(low, 0.0), tl.where(moves_high, high, extent)
    first = tl.floor(low)
    count = tl.ceil(tl.maximum(scale, 1.0)).to(tl.int32) + 1
    return (
        first.to(tl.int64),
        (low - first).to(tl.float32),
        (high - first).to(tl.float32),
        count,
        inside,
        moves_low,
        moves_high,
    )


@no_type_check
@triton.jit
def _share(low, high, texel):
    """Share of a footprint that lies in a texel."""
    return tl.maximum(tl.minimum(high, texel + 1.0) - tl.maximum(low, texel * 1.0), 0.0) / (high - low)


@no_type_check
@triton.jit
def _slope(low, high, moves_low, moves_high, texel):
    """Derivative of `_share` to the footprint's middle: the texel of the high end gains, that of the low end loses."""
    gains = tl.where(moves_high & (high >= texel) & (high < texel + 1.0), 1.0, 0.0)
    loses = tl.where(moves_low & (low >= texel) & (low < texel + 1.0), 1.0, 0.0)
    grows = tl.where(moves_high, 1.0, 0.0) - tl.where(moves_low, 1.0, 0.0)
    return (gains - loses - _share(low, high, texel) * grows) / (high - low)


@no_type_check
@triton.jit
def _forward(
    image_ptr, place_ptr, index_ptr, out_ptr, known_ptr, sn, sc, sh, sw, C, H, W, size,
    CP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    patch, pixel, owned, u, v = _pixels(size, BLOCK)
    left, x0, x1, columns, in_x, _, _ = _footprint(place_ptr + patch * 4, u, W)
    top, y0, y1, rows, in_y, _, _ = _footprint(place_ptr + patch * 4 + 1, v, H)
    inside = owned & in_x & in_y
    c = tl.program_id(1).to(tl.int64) * CP + tl.arange(0, CP)[:, None]
    image_ptr += tl.load(index_ptr + patch).to(tl.int64) * sn + c * sc
    total = tl.zeros([CP, BLOCK], tl.float32)
    for row in range(rows):
        for column in range(columns):
            share = _share(y0, y1, row) * _share(x0, x1, column)
            at = (top + row) * sh + (left + column) * sw
            seen = (c < C) & (inside & (share > 0))[None, :]
            total += share[None, :] * tl.load(image_ptr + at[None, :], mask=seen, other=0.0).to(tl.float32)
    out = (patch * C + c) * size * size + pixel[None, :]
    tl.store(out_ptr + out, tl.where(inside[None, :], total, 0.0), mask=(c < C) & owned[None, :])
    if tl.program_id(1) == 0:
        tl.store(known_ptr + patch * size * size + pixel, inside, mask=owned)


@no_type_check
@triton.jit
def _backward(
    image_ptr, place_ptr, index_ptr, grad_ptr, total_ptr, part_ptr, sn, sc, sh, sw, C, H, W, size,
    CP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    patch, pixel, owned, u, v = _pixels(size, BLOCK)
    left, x0, x1, columns, in_x, low_x, high_x = _footprint(place_ptr + patch * 4, u, W)
    top, y0, y1, rows, in_y, low_y, high_y = _footprint(place_ptr + patch * 4 + 1, v, H)
    inside = owned & in_x & in_y
    c = tl.program_id(1).to(tl.int64) * CP + tl.arange(0, CP)[:, None]
    n = tl.load(index_ptr + patch).to(tl.int64)
    image_ptr += n * sn + c * sc
    both = (c < C) & inside[None, :]
    g = tl.load(grad_ptr + (patch * C + c) * size * size + pixel[None, :], mask=both, other=0.0).to(tl.float32)
    dx, dy = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
    for row in range(rows):
        down = _share(y0, y1, row)
        for column in range(columns):
            right = _share(x0, x1, column)
            if total_ptr is not None:  # which is contiguous
                to = ((n * C + c) * H + (top + row)[None, :]) * W + (left + column)[None, :]
                tl.atomic_add(total_ptr + to, g * (down * right)[None, :], mask=both & (down * right > 0)[None, :])
            if part_ptr is not None:
                at = (top + row) * sh + (left + column) * sw
                seen = both & ((left + column < W) & (top + row < H))[None, :]
                pull = tl.sum(g * tl.load(image_ptr + at[None, :], mask=seen, other=0.0).to(tl.float32), 0)
                dx += pull * down * _slope(x0, x1, low_x, high_x, column)
                dy += pull * right * _slope(y0, y1, low_y, high_y, row)
    if part_ptr is not None:
        part = part_ptr + (tl.program_id(0).to(tl.int64) * tl.num_programs(1) + tl.program_id(1)) * 2
        tl.store(part, tl.sum(tl.where(inside, dx, 0.0), 0))
        tl.store(part + 1, tl.sum(tl.where(inside, dy, 0.0), 0))
