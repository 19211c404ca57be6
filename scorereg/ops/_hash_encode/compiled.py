"""`hash_encode` on a CPU: three functions that torch.compile fuses, or `grid_sample`.

Arrays are [levels, points] with the points last: the compiler then computes sixteen points at once, and one level's
part of the table stays in the cache. Features are written as [levels x features, points] and returned as a transposed
view, which matrix products take as it is.

No tensor of size points x levels x corners is written forward, nor for the gradient to positions. The gradient to the
table is summed in pieces of `_PIECE` points of one level, which stay in the cache: fused accumulation would be a loop
of compare-and-swap.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from scorereg.ops._hash_encode.shape import PRIMES, GridShape

__all__ = ["hash_encode_compiled", "levels_of", "sorted_gradient"]

_PIECE = 16384


def hash_encode_compiled(
    x: Float[Tensor, "n d"], table: Float[Tensor, "rows f"], shape: GridShape
) -> Float[Tensor, "n lf"]:
    """`hash_encode` by fused functions."""
    exact = torch.promote_types(torch.promote_types(x.dtype, table.dtype), torch.float32)
    x, table = x.to(exact), table.to(exact) if x.dtype == torch.float64 else table
    if _by_grid_sample(shape) and not x.requires_grad:  # its slope differs at the cube's faces
        return torch.cat([_sample(x, table, shape, level) for level in range(shape.levels)], -1)
    return _Fused.apply(x, table, shape)


def _by_grid_sample(shape: GridShape) -> bool:
    """Whether `grid_sample` can do all levels: slower by two than fused functions, but nothing is compiled."""
    plain = shape.dimensions < 4 and not shape.staggered and shape.interpolation == "linear"
    return plain and shape.dense == shape.levels


def _sample(x: Tensor, table: Tensor, shape: GridShape, level: int) -> Float[Tensor, "n f"]:
    """One dense level by `grid_sample`, which takes the last coordinate as depth: the order of the rows."""
    rows = table[shape.starts[level] : shape.starts[level] + shape.rows[level]].to(x.dtype)
    side = [shape.sides[level]] * shape.dimensions
    volume = rows.t().reshape(1, -1, *side)
    grid = (2 * x.clamp(0, 1) - 1).reshape(1, *[1] * (shape.dimensions - 1), *x.shape)
    sampled = torch.nn.functional.grid_sample(volume, grid, align_corners=True, padding_mode="border")
    return sampled.reshape(shape.features, -1).t()


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, table, shape):
        ctx.save_for_backward(x, table)
        ctx.shape = shape
        code = _compiled("gather")(x.t().contiguous(), table, *levels_of(shape, x.device), *_kind(shape))
        return code.flatten(0, 1).t()

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):  # pyright: ignore[reportIncompatibleMethodOverride]
        x, table = ctx.saved_tensors
        shape = ctx.shape
        x, grad = x.t().contiguous(), rearrange(grad.t().contiguous(), "(l f) n -> l f n", f=shape.features)
        dx = dtable = None
        if ctx.needs_input_grad[0]:
            dx = _compiled("slope")(x, table, grad, *levels_of(shape, x.device), *_kind(shape)).t()
        if ctx.needs_input_grad[1]:
            dtable = _accumulate(x, grad, shape).to(table.dtype)
        return dx, dtable, None


@cache
def levels_of(shape: GridShape, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """For each level: scale, vertices along an axis, rows, first row, and whether it is dense."""
    starts = torch.tensor(shape.starts, device=device)
    return (
        torch.tensor(shape.scales, device=device),
        torch.tensor(shape.sides, device=device, dtype=torch.int32),
        torch.tensor(shape.rows, device=device, dtype=torch.int32),
        starts if sum(shape.rows) >= 2**31 else starts.int(),
        torch.arange(shape.levels, device=device) < shape.dense,
    )


def _kind(shape: GridShape) -> tuple[bool, bool]:
    return shape.staggered, shape.interpolation == "smoothstep"


def _corners(
    x: Tensor, scale: Tensor, side: Tensor, rows: Tensor, start: Tensor, dense: Tensor, staggered: bool, smooth: bool
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Rows [l, n] of each corner of the cells around x [d, n]; the upper corners' shares and slopes to x, [d, l, n]."""
    position = x.clamp(0, 1)[:, None] * scale[:, None] + (0.5 if staggered else 0.0)
    low = torch.where(position > 0, position.floor(), 0)  # NaN has a cell too, and keeps its share
    if not staggered:
        low = torch.minimum(low, scale[:, None] - 1)
    share, slope = position - low, scale[:, None].expand_as(position)
    if smooth:
        share, slope = share * share * (3 - 2 * share), 6 * share * (1 - share) * slope
    low = low.int()
    index = []
    for corner in range(2 ** len(x)):
        place, step, slot = 0, torch.ones_like(side), 0
        for d in range(len(x)):
            vertex = low[d] + (corner >> d & 1)
            place = place + vertex * step[:, None]
            slot = slot ^ (vertex * _as_int32(PRIMES[d]))
            step = step * side
        beyond = torch.where(place < rows[:, None], place, place - rows[:, None]) if staggered else place
        row = torch.where(dense[:, None], beyond, slot & (rows[:, None] - 1))
        index.append(row + start[:, None])
    return index, share, slope


def _as_int32(number: int) -> int:
    """The number as int32, whose products wrap as those of the paper's uint32."""
    return number - 2**32 if number >= 2**31 else number


def _weight(share: Tensor, corner: int, but: int = -1) -> Tensor:
    """Product of the shares of a corner, along all axes but one."""
    factors = [share[d] if corner >> d & 1 else 1 - share[d] for d in range(len(share)) if d != but]
    weight = factors[0]
    for factor in factors[1:]:
        weight = weight * factor
    return weight


def _gather(x: Tensor, table: Tensor, *levels: Any) -> Tensor:
    """Features [l, f, n] at x [d, n]; the corners are written out so that the compiler sums them in registers."""
    index, share, _ = _corners(x, *levels)
    totals = []
    for f in range(table.shape[1]):
        terms = [_weight(share, corner) * table[row, f] for corner, row in enumerate(index)]
        totals.append(sum(terms[1:], terms[0]))
    return torch.stack(totals, 1)


def _slope(x: Tensor, table: Tensor, grad: Tensor, *levels: Any) -> Tensor:
    """Gradient [d, n] to x of the features' product with grad [l, f, n]."""
    index, share, slope = _corners(x, *levels)
    sums: list[Any] = [0.0] * len(x)
    for corner, row in enumerate(index):
        value = sum((table[row, f] * grad[:, f] for f in range(1, table.shape[1])), table[row, 0] * grad[:, 0])
        for d in range(len(x)):
            sums[d] = sums[d] + value * _weight(share, corner, d) * (1 if corner >> d & 1 else -1)
    inside = (x >= 0) & (x <= 1)
    return (torch.stack(sums) * slope).sum(1) * inside


def _contributions(x: Tensor, grad: Tensor, *levels: Any) -> tuple[Tensor, Tensor]:
    """Rows [l, c, n] and values [p, l, c, n, 2] or [f, l, c, n] that the adjoint of `_gather` adds up.

    Where the features are even in number they go in pairs, as complex numbers.
    """
    index, share, _ = _corners(x, *levels)
    weight = torch.stack([_weight(share, corner) for corner in range(len(index))], 1)
    values = [weight * grad[:, f, None] for f in range(grad.shape[1])]
    if len(values) % 2 == 0:
        values = [torch.stack(pair, -1) for pair in zip(values[::2], values[1::2], strict=True)]
    return torch.stack(index, 1).long(), torch.stack(values)


def _accumulate(x: Tensor, grad: Tensor, shape: GridShape) -> Float[Tensor, "rows f"]:
    """The adjoint of `_gather`: x [d, n], grad [l, f, n]."""
    paired = shape.features % 2 == 0
    dtype = {torch.float32: torch.complex64, torch.float64: torch.complex128}[grad.dtype] if paired else grad.dtype
    sums = torch.zeros(shape.features // (2 if paired else 1), sum(shape.rows), dtype=dtype, device=x.device)
    for run in _runs(shape, torch.get_num_threads()):
        scale, side, rows, start, dense = (sizes[run] for sizes in levels_of(shape, x.device))
        about = (scale, side, rows, torch.zeros_like(start), dense, *_kind(shape))
        count, levels = shape.rows[run.start], len(rows)
        begin = shape.starts[run.start]
        parts = sums[:, begin : begin + levels * count].unflatten(1, (levels, count))
        for n in range(0, x.shape[1], _PIECE):
            piece = slice(n, n + _PIECE)
            index, values = _compiled("contributions")(x[:, piece], grad[run, :, piece], *about)
            for part, value in zip(parts, torch.view_as_complex(values) if paired else values, strict=True):
                part.scatter_add_(1, index.flatten(1), value.flatten(1))
    if not paired:
        return sums.t()
    return rearrange(torch.view_as_real(sums), "p r c -> r (p c)")


@cache
def _runs(shape: GridShape, most: int) -> tuple[slice, ...]:
    """Slices of adjacent levels with equally many rows, which are summed at once, each by a thread of its own."""
    runs, first = [], 0
    while first < shape.levels:
        last = first + 1
        while last < min(shape.levels, first + most) and shape.rows[last] == shape.rows[first]:
            last += 1
        runs.append(slice(first, last))
        first = last
    return tuple(runs)


def sorted_gradient(x: Float[Tensor, "d n"], grad: Float[Tensor, "l f n"], shape: GridShape) -> Float[Tensor, "rows f"]:
    """Gradient to the table, summed in a fixed order, one level at a time; on CUDA rows are sorted first."""
    total = grad.new_zeros(sum(shape.rows), shape.features)
    for level in range(shape.levels):
        about: Any = (*(sizes[level : level + 1] for sizes in levels_of(shape, x.device)), *_kind(shape))
        index, share, _ = _corners(x, *about)
        values = torch.stack([_weight(share, corner) * grad[level] for corner in range(len(index))])  # [c, f, n]
        values = rearrange(values, "c f n -> (c n) f")
        total.index_put_((torch.cat(index, 1).flatten().long(),), values, accumulate=True)
    return total


@cache
def _compiled(name: str) -> Callable[..., Any]:
    function = {"gather": _gather, "slope": _slope, "contributions": _contributions}[name]
    return torch.compile(function, dynamic=True)
