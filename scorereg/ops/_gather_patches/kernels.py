"""Triton kernels of `gather_patches`: one program for BLOCK pixels of one patch, which goes through the channels.

Positions are computed in registers from four numbers a patch, so that what moves through memory is what is read and
what is written. Neighbouring lanes look at neighbouring texels; the four corners of a pixel are reads that do not
depend on one another. The gradient to the images is added by atomics in float32; the one to a centre is summed in a
program, one pair of numbers for each, which torch adds up. Offsets are int64.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["gather_patches_triton"]

_BLOCK = 256  # a patch of 24 x 24 is three programs, one of 48 x 48 nine: enough to fill a GPU from some 100 patches on


def gather_patches_triton(
    images: Float[Tensor, "n c h w"],
    frame: Float[Tensor, "b 4"],
    index: Int[Tensor, " b"],
    size: int,
    mode: str,
    d_min: float | None,
) -> tuple[Float[Tensor, "b c {size} {size}"], Bool[Tensor, "b c {size} {size}"]]:
    """As `gather_patches`; `frame` is x, y, scale times cosine, scale times sine of each patch."""
    return _Gather.apply(images, frame.float(), index.to(images.device), size, mode == "bilinear", d_min)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, images, frame, index, size, bilinear, d_min):
        ctx.save_for_backward(images, frame, index)
        ctx.settings = (size, bilinear, d_min)
        shape = (len(frame), images.shape[1], size, size)
        out = torch.empty(shape, dtype=images.dtype, device=images.device)
        known = torch.empty(shape, dtype=torch.bool, device=images.device)
        _launch(_forward, images, frame, index, out, known, size=size, bilinear=bilinear, d_min=d_min)
        ctx.mark_non_differentiable(known)
        return out, known

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, _):  # pyright: ignore[reportIncompatibleMethodOverride]
        images, frame, index = ctx.saved_tensors
        size, bilinear, d_min = ctx.settings
        to_images, to_frame = ctx.needs_input_grad[:2]
        total = torch.zeros(images.shape, device=images.device) if to_images else None
        blocks = triton.cdiv(size * size, _BLOCK)
        parts = torch.empty(len(frame), blocks, 2, device=images.device) if to_frame else None
        grad = grad.contiguous()
        _launch(_backward, images, frame, index, grad, total, parts, size=size, bilinear=bilinear, d_min=d_min)
        dframe = None if parts is None else torch.nn.functional.pad(parts.sum(1), (0, 2))
        return None if total is None else total.to(images.dtype), dframe, None, None, None, None


def _launch(kernel, images: Tensor, frame: Tensor, *given, size: int, bilinear: bool, d_min: float | None) -> None:
    _, c, h, w = images.shape
    programs = (len(frame) * triton.cdiv(size * size, _BLOCK),)
    if len(frame) and c:
        kernel[programs](
            images, frame.contiguous(), *given, *images.stride(), c, h, w, size, d_min or 0.0,
            bilinear, d_min is not None, _BLOCK,
        )  # fmt: skip


@no_type_check
@triton.jit
def _look(frame_ptr, patch, pixel, size, H, W, BILINEAR: tl.constexpr):
    """Texel columns and rows, shares of the right and lower ones, and where there is an image, and a slope of it."""
    x0, y0 = tl.load(frame_ptr + patch * 4), tl.load(frame_ptr + patch * 4 + 1)
    along, across = tl.load(frame_ptr + patch * 4 + 2), tl.load(frame_ptr + patch * 4 + 3)
    u = (pixel % size).to(tl.float32) - (size - 1) * 0.5
    v = (pixel // size).to(tl.float32) - (size - 1) * 0.5
    x, y = x0 + along * u - across * v, y0 + across * u + along * v
    valid = (x >= 0) & (x <= W) & (y >= 0) & (y <= H)  # nothing that is not a number is
    x, y = tl.where(valid, x, 0.5), tl.where(valid, y, 0.5)  # before they become integers
    if BILINEAR:
        x, y = x - 0.5, y - 0.5
    slope_x, slope_y = valid & (x > 0) & (x < W - 1), valid & (y > 0) & (y < H - 1)
    x, y = tl.minimum(tl.maximum(x, 0.0), W - 1), tl.minimum(tl.maximum(y, 0.0), H - 1)
    if not BILINEAR:
        x, y = tl.floor(x), tl.floor(y)
    left, top = tl.floor(x), tl.floor(y)
    return left.to(tl.int64), top.to(tl.int64), x - left, y - top, valid, slope_x, slope_y


@no_type_check
@triton.jit
def _texel(ptr, offset, mask):
    return tl.load(ptr + offset, mask=mask, other=0.0).to(tl.float32)


@no_type_check
@triton.jit
def _forward(
    image_ptr, frame_ptr, index_ptr, out_ptr, known_ptr, sn, sc, sh, sw, C, H, W, size, d_min,
    BILINEAR: tl.constexpr, PRIOR: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    area = size * size
    blocks = tl.cdiv(area, BLOCK)
    patch = (tl.program_id(0) // blocks).to(tl.int64)
    pixel = (tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < area
    left, top, a, b, valid, _, _ = _look(frame_ptr, patch, pixel, size, H, W, BILINEAR)
    valid &= inside
    right, down = valid & (left + 1 < W) & (a > 0), valid & (top + 1 < H) & (b > 0)
    image_ptr += tl.load(index_ptr + patch).to(tl.int64) * sn
    at = top * sh + left * sw
    out = patch * C * area + pixel
    for channel in range(C):
        value = _texel(image_ptr, at, valid)
        unknown = tl.where(value <= 0, (1 - a) * (1 - b), 0.0)
        if BILINEAR:
            v01, v10 = _texel(image_ptr, at + sw, right), _texel(image_ptr, at + sh, down)
            v11 = _texel(image_ptr, at + sh + sw, right & down)
            value = (1 - b) * ((1 - a) * value + a * v01) + b * ((1 - a) * v10 + a * v11)
            unknown += tl.where(v01 <= 0, a * (1 - b), 0.0) + tl.where(v10 <= 0, (1 - a) * b, 0.0)
            unknown += tl.where(v11 <= 0, a * b, 0.0)
        known = valid
        if PRIOR:
            depth = channel == C - 1
            value = 2 * tl.where(depth, d_min / tl.maximum(value, d_min), value) - 1
            known = valid & ((unknown < 1e-6) | (channel < C - 1))
        tl.store(out_ptr + out, tl.where(valid, value, 0.0), mask=inside)
        tl.store(known_ptr + out, known, mask=inside)
        image_ptr += sc
        out += area


@no_type_check
@triton.jit
def _backward(
    image_ptr, frame_ptr, index_ptr, grad_ptr, total_ptr, part_ptr, sn, sc, sh, sw, C, H, W, size, d_min,
    BILINEAR: tl.constexpr, PRIOR: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    area = size * size
    blocks = tl.cdiv(area, BLOCK)
    patch = (tl.program_id(0) // blocks).to(tl.int64)
    pixel = (tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < area
    left, top, a, b, valid, slope_x, slope_y = _look(frame_ptr, patch, pixel, size, H, W, BILINEAR)
    valid &= inside
    right, down = valid & (left + 1 < W) & (a > 0), valid & (top + 1 < H) & (b > 0)
    near_x, near_y = valid & (left + 1 < W), valid & (top + 1 < H)  # a slope has a neighbour also where its share is 0
    n = tl.load(index_ptr + patch).to(tl.int64)
    image_ptr += n * sn
    at = top * sh + left * sw
    to = (n * C * H + top) * W + left  # the gradient is contiguous
    grad = patch * C * area + pixel
    dx, dy = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
    for channel in range(C):
        g = _texel(grad_ptr, grad, valid)
        v00 = _texel(image_ptr, at, valid)
        if BILINEAR:
            v01, v10 = _texel(image_ptr, at + sw, near_x), _texel(image_ptr, at + sh, near_y)
            v11 = _texel(image_ptr, at + sh + sw, near_x & near_y)
        if PRIOR:
            value = v00
            if BILINEAR:
                value = (1 - b) * ((1 - a) * v00 + a * v01) + b * ((1 - a) * v10 + a * v11)
            z = tl.maximum(value, d_min)
            g *= tl.where(channel == C - 1, -2 * d_min / (z * z), 2.0)
        if BILINEAR:
            dx += g * ((1 - b) * (v01 - v00) + b * (v11 - v10))
            dy += g * ((1 - a) * (v10 - v00) + a * (v11 - v01))
        if total_ptr is not None:
            tl.atomic_add(total_ptr + to, g * (1 - a) * (1 - b), mask=valid)
            if BILINEAR:
                tl.atomic_add(total_ptr + to + 1, g * a * (1 - b), mask=right)
                tl.atomic_add(total_ptr + to + W, g * (1 - a) * b, mask=down)
                tl.atomic_add(total_ptr + to + W + 1, g * a * b, mask=right & down)
        image_ptr += sc
        to += H * W
        grad += area
    if part_ptr is not None:
        part = part_ptr + tl.program_id(0).to(tl.int64) * 2
        tl.store(part, tl.sum(tl.where(slope_x, dx, 0.0), 0))
        tl.store(part + 1, tl.sum(tl.where(slope_y, dy, 0.0), 0))
