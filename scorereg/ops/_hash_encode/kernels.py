"""Triton kernels of `hash_encode`: one program for BLOCK points of one level.

Levels are the slow axis of the launch, as in the paper: programs that run together read one level's part of the table,
at most 4 MB at 2^19 slots of two floats, which the L2 cache holds. Features are written as [levels x features, points],
so that neighboring threads store to neighboring addresses, and returned as a transposed view.

A block has 128 points and four warps, one point a thread: the reads of its 4, 8 or 16 corners are independent and in
flight together, and with some 40 registers a thread a multiprocessor is full. The block size is not measured.

The gradient to the table is added by atomics, which run at the rate of the L2 cache. Sorting the rows first would move
all points x corners keys several times through memory; it sums in a fixed order and is used under
`torch.use_deterministic_algorithms`.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from scorereg.ops._hash_encode.compiled import levels_of, sorted_gradient
from scorereg.ops._hash_encode.shape import GridShape

__all__ = ["hash_encode_triton"]

_BLOCK = 128


def hash_encode_triton(
    x: Float[Tensor, "n d"], table: Float[Tensor, "rows f"], shape: GridShape
) -> Float[Tensor, "n lf"]:
    """`hash_encode` by kernels."""
    return _HashEncode.apply(x, table, shape)


class _HashEncode(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, table, shape):
        ctx.save_for_backward(x, table)
        ctx.shape = shape
        out = torch.empty(shape.levels * shape.features, len(x), device=x.device)
        _launch(_one_level, shape, _points(x), table.contiguous(), out, ADJOINT=False)
        return out.t()

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):  # pyright: ignore[reportIncompatibleMethodOverride]
        x, table = ctx.saved_tensors
        shape, points = ctx.shape, _points(x)
        grad = grad.t().contiguous()
        dx = dtable = None
        if ctx.needs_input_grad[0]:
            dx = torch.empty_like(points)
            _launch(_to_points, shape, points, table.contiguous(), grad, dx)
            dx = dx.t().to(x.dtype)
        if ctx.needs_input_grad[1] and torch.are_deterministic_algorithms_enabled():
            grad = rearrange(grad, "(l f) n -> l f n", f=shape.features)
            dtable = sorted_gradient(points, grad, shape).to(table.dtype)
        elif ctx.needs_input_grad[1]:
            dtable = torch.zeros(table.shape, device=table.device)
            _launch(_one_level, shape, points, dtable, grad, ADJOINT=True)
            dtable = dtable.to(table.dtype)
        return dx, dtable, None


def _points(x: Tensor) -> Float[Tensor, "d n"]:
    return x.t().to(torch.float32).contiguous()


def _launch(kernel, shape: GridShape, points: Tensor, *tensors: Tensor, **more: bool) -> None:
    count = points.shape[1]
    if not count:
        return
    blocks = triton.cdiv(count, _BLOCK)
    grid = (blocks,) if kernel is _to_points else (blocks, shape.levels)
    scale, side, rows, start, dense = levels_of(shape, points.device)
    kernel[grid](
        points, *tensors, scale, side, rows, start.long(), dense.int(), count, shape.levels,
        D=shape.dimensions, F=shape.features, FP=triton.next_power_of_2(shape.features), STAGGERED=shape.staggered,
        SMOOTH=shape.interpolation == "smoothstep", BLOCK=_BLOCK, **more,
    )  # fmt: skip


@no_type_check
@triton.jit
def _axis(x_ptr, point, inside, scale, STAGGERED: tl.constexpr, SMOOTH: tl.constexpr):
    """Lower vertex [BLOCK], share of the upper one, the share's slope to x, and whether x lies in the cube."""
    x = tl.load(x_ptr + point, mask=inside, other=0.0)
    position = tl.where(x > 0, tl.where(x > 1, 1.0, x), tl.where(x <= 0, 0.0, x)) * scale  # NaN stays
    if STAGGERED:
        position += 0.5
    low = tl.where(position > 0, tl.floor(position), 0.0)
    if not STAGGERED:
        low = tl.where(low > scale - 1, scale - 1, low)
    share = position - low
    slope = tl.where((x >= 0) & (x <= 1), scale, 0.0)
    if SMOOTH:
        slope *= 6 * share * (1 - share)
        share = share * share * (3 - 2 * share)
    return low.to(tl.int32), share, slope


@no_type_check
@triton.jit
def _row(corner: tl.constexpr, i, j, k, m, side, rows, dense, D: tl.constexpr):
    """Row within its level of a corner of the cell at (i, j, k, m), of which the first D count; int64."""
    i, j, k, m = i + corner % 2, j + corner // 2 % 2, k + corner // 4 % 2, m + corner // 8
    place = i + side * j
    slot = i.to(tl.uint32) ^ (j.to(tl.uint32) * 2654435761)
    if D > 2:
        place += side * side * k
        slot ^= k.to(tl.uint32) * 805459861
    if D > 3:
        place += side * side * side * m
        slot ^= m.to(tl.uint32) * 3674653429
    place = tl.where(place < rows, place, place - rows)  # a staggered cell may reach past the last vertex
    slot = slot & (rows - 1).to(tl.uint32)
    return tl.where(dense != 0, place, slot.to(tl.int32)).to(tl.int64)


@no_type_check
@triton.jit
def _side(bit: tl.constexpr, share):
    return share if bit else 1 - share


@no_type_check
@triton.jit
def _sign(bit: tl.constexpr):
    return 2.0 * bit - 1.0


@no_type_check
@triton.jit
def _weight(corner: tl.constexpr, s, t, u, v, D: tl.constexpr):
    weight = _side(corner % 2, s) * _side(corner // 2 % 2, t)
    if D > 2:
        weight *= _side(corner // 4 % 2, u)
    if D > 3:
        weight *= _side(corner // 8, v)
    return weight


@no_type_check
@triton.jit
def _cell(x_ptr, point, inside, count, scale, D: tl.constexpr, STAGGERED: tl.constexpr, SMOOTH: tl.constexpr):
    """Lower vertices, shares and slopes along four axes; those beyond D repeat the last one and are not used."""
    i, s, ds = _axis(x_ptr, point, inside, scale, STAGGERED, SMOOTH)
    j, t, dt = _axis(x_ptr + count, point, inside, scale, STAGGERED, SMOOTH)
    k, u, du = j, t, dt
    if D > 2:
        k, u, du = _axis(x_ptr + count + count, point, inside, scale, STAGGERED, SMOOTH)
    m, v, dv = k, u, du
    if D > 3:
        m, v, dv = _axis(x_ptr + count + count + count, point, inside, scale, STAGGERED, SMOOTH)
    return i, j, k, m, s, t, u, v, ds, dt, du, dv


@no_type_check
@triton.jit
def _one_level(
    x_ptr, table_ptr, code_ptr, scale_ptr, side_ptr, rows_ptr, start_ptr, dense_ptr, count, levels,
    D: tl.constexpr, F: tl.constexpr, FP: tl.constexpr, STAGGERED: tl.constexpr, SMOOTH: tl.constexpr,
    BLOCK: tl.constexpr, ADJOINT: tl.constexpr,
):  # fmt: skip
    """Features from the table into `code` [levels x features, points], or a gradient from there into the table."""
    level = tl.program_id(1)
    point = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = point < count
    scale, side, rows = tl.load(scale_ptr + level), tl.load(side_ptr + level), tl.load(rows_ptr + level)
    start, dense = tl.load(start_ptr + level), tl.load(dense_ptr + level)
    i, j, k, m, s, t, u, v, _, _, _, _ = _cell(x_ptr, point, inside, count, scale, D, STAGGERED, SMOOTH)
    f = tl.arange(0, FP)
    both = inside[:, None] & (f < F)[None, :]
    line = (level * F + f).to(tl.int64) * count
    code_ptr += line[None, :] + point[:, None]
    total = tl.zeros([BLOCK, FP], tl.float32)
    if ADJOINT:
        total = tl.load(code_ptr, mask=both, other=0.0)
    for corner in tl.static_range(2**D):
        row = start + _row(corner, i, j, k, m, side, rows, dense, D)
        at = table_ptr + row[:, None] * F + f[None, :]
        weight = _weight(corner, s, t, u, v, D)[:, None]
        if ADJOINT:
            tl.atomic_add(at, weight * total, mask=both, sem="relaxed")
        else:
            total += weight * tl.load(at, mask=both, other=0.0).to(tl.float32)
    if not ADJOINT:
        tl.store(code_ptr, total, mask=both)


@no_type_check
@triton.jit
def _to_points(
    x_ptr, table_ptr, grad_ptr, dx_ptr, scale_ptr, side_ptr, rows_ptr, start_ptr, dense_ptr, count, levels,
    D: tl.constexpr, F: tl.constexpr, FP: tl.constexpr, STAGGERED: tl.constexpr, SMOOTH: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """All levels of a block in one program: their sum stays in registers and needs no atomics."""
    point = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = point < count
    f = tl.arange(0, FP)
    both = inside[:, None] & (f < F)[None, :]
    dx, dy = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
    dz, dw = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
    for level in range(levels):
        scale, side, rows = tl.load(scale_ptr + level), tl.load(side_ptr + level), tl.load(rows_ptr + level)
        start, dense = tl.load(start_ptr + level), tl.load(dense_ptr + level)
        i, j, k, m, s, t, u, v, ds, dt, du, dv = _cell(x_ptr, point, inside, count, scale, D, STAGGERED, SMOOTH)
        line = (level * F + f).to(tl.int64) * count
        grad = tl.load(grad_ptr + line[None, :] + point[:, None], mask=both, other=0.0)
        for corner in tl.static_range(2**D):
            row = start + _row(corner, i, j, k, m, side, rows, dense, D)
            value = tl.load(table_ptr + row[:, None] * F + f[None, :], mask=both, other=0.0).to(tl.float32)
            pull = tl.sum(value * grad, 1)
            a, b = _side(corner % 2, s), _side(corner // 2 % 2, t)
            c, d = 1.0, 1.0
            if D > 2:
                c = _side(corner // 4 % 2, u)
            if D > 3:
                d = _side(corner // 8, v)
            dx += _sign(corner % 2) * pull * ds * b * c * d
            dy += _sign(corner // 2 % 2) * pull * dt * a * c * d
            dz += _sign(corner // 4 % 2) * pull * du * a * b * d
            dw += _sign(corner // 8) * pull * dv * a * b * c
    tl.store(dx_ptr + point, dx, mask=inside)
    tl.store(dx_ptr + count + point, dy, mask=inside)
    if D > 2:
        tl.store(dx_ptr + count + count + point, dz, mask=inside)
    if D > 3:
        tl.store(dx_ptr + count + count + count + point, dw, mask=inside)
