r"""Multiresolution hash-grid encoding (Mueller 2022, Instant NGP, section 3).

    x        position in the unit cube
    r_l      resolution of level l: its grid has r_l cells and r_l + 1 vertices along each axis
    table    features of all levels, one row a vertex (dense levels) or a slot (hashed levels)

A level interpolates trilinearly between the features of the eight vertices around `x r_l`. A level that fits into the
slots is dense: vertex (i, j, k) is row `i + (r + 1) (j + (r + 1) k)`. The others share slots by the hash of eq. 4,
`(i xor 2654435761 j xor 805459861 k) mod T`, collisions unresolved.

Two things make it fast on a CPU: dense levels go through `grid_sample`, whose native loops need no index tensors, and
hashed levels through torch.compile, which fuses hash, gather and interpolation: forward, no tensor of size points x
levels x 8 x features is ever written.
"""

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["Backend", "GridShape", "hash_encode", "hash_encode_reference"]

Backend = Literal["auto", "compiled", "eager"]
_PRIMES = (1, 2654435761 - 2**32, 805459861)  # as int32, where the multiplication wraps as in the paper's uint32


@dataclass(frozen=True)
class GridShape:
    """Sizes of a multiresolution grid.

    Args:
        levels: Number of resolutions.
        features: Features of a vertex.
        log2_slots: A level has at most `2 ** log2_slots` rows.
        base: Cells along an axis of the coarsest level.
        finest: Cells along an axis of the finest level; those between grow by a constant factor.

    Raises:
        ValueError: If a size is below 1, or `finest` is below `base`.
    """

    levels: int = 8
    features: int = 2
    log2_slots: int = 18
    base: int = 16
    finest: int = 1024

    def __post_init__(self) -> None:
        if min(self.levels, self.features, self.log2_slots, self.base) < 1 or self.finest < self.base:
            raise ValueError(f"A grid needs sizes of at least 1 and finest >= base, got {self}.")

    @cached_property
    def resolutions(self) -> tuple[int, ...]:
        """Cells along an axis, by level."""
        growth = math.log(self.finest / self.base) / max(self.levels - 1, 1)
        return tuple(int(self.base * math.exp(level * growth) + 1e-9) for level in range(self.levels))

    @cached_property
    def rows(self) -> tuple[int, ...]:
        """Rows of each level in the table."""
        return tuple(min((r + 1) ** 3, 2**self.log2_slots) for r in self.resolutions)

    @cached_property
    def dense(self) -> int:
        """How many levels are dense; they are the first ones."""
        return sum((r + 1) ** 3 <= 2**self.log2_slots for r in self.resolutions)


def hash_encode(
    x: Float[Tensor, "n 3"], table: Float[Tensor, "rows f"], shape: GridShape, *, backend: Backend = "auto"
) -> Float[Tensor, "n lf"]:
    """Interpolated features of all levels, concatenated from coarse to fine.

    Differentiable once to `table`; the gradient to `x` is not computed.

    Args:
        x: Positions in [0, 1]; outside, the nearest position of the cube is taken.
        table: Rows of all levels, `sum(shape.rows)` of them.
        shape: Sizes of the grid.
        backend: `"compiled"` fuses the hashed levels with torch.compile, `"eager"` is the reference, `"auto"` is
            compiled where a compiler for the device is found. The first call compiles, for some ten seconds.

    Raises:
        ValueError: If the table does not have the shape's rows and features.
        RuntimeError: If `backend="compiled"` finds no compiler.
    """
    if table.shape != (sum(shape.rows), shape.features):
        raise ValueError(
            f"hash_encode needs a table of shape ({sum(shape.rows)}, {shape.features}) for {shape}, "
            f"got {tuple(table.shape)}."
        )
    if not _use_compiled(x.device.type, backend):
        return hash_encode_reference(x, table, shape)
    x = x.detach().clamp(0, 1)
    first_hashed = sum(shape.rows[: shape.dense])
    parts = [_dense(x, rows, r) for rows, r in zip(_split(table, shape), shape.resolutions, strict=False)]
    if shape.dense < shape.levels:
        parts.append(_Hashed.apply(x, table[first_hashed:], shape.resolutions[shape.dense :], shape.log2_slots))
    return torch.cat(parts, -1)


def hash_encode_reference(
    x: Float[Tensor, "n 3"], table: Float[Tensor, "rows f"], shape: GridShape
) -> Float[Tensor, "n lf"]:
    """The definition, in plain torch: what the fast path is tested against, in any precision."""
    x = x.clamp(0, 1)
    out, start = [], 0
    for level, (r, rows) in enumerate(zip(shape.resolutions, shape.rows, strict=True)):
        position = x * r
        low = position.detach().floor().clamp(max=r - 1)
        share = position - low
        total = torch.zeros_like(table[:1]).expand(len(x), -1)
        for corner in range(8):
            bits = torch.tensor([corner & 1, corner >> 1 & 1, corner >> 2 & 1], device=x.device)
            i, j, k = (low.long() + bits).unbind(-1)
            if level < shape.dense:
                row = i + (r + 1) * (j + (r + 1) * k)
            else:
                row = (i ^ (2654435761 * j) ^ (805459861 * k)) % rows
            weight = torch.where(bits.bool(), share, 1 - share).prod(-1)
            total = total + weight[:, None] * table[start + row]
        out.append(total)
        start += rows
    return torch.cat(out, -1)


def _split(table: Tensor, shape: GridShape) -> tuple[Tensor, ...]:
    return table[: sum(shape.rows[: shape.dense])].split(shape.rows[: shape.dense])


def _dense(x: Float[Tensor, "n 3"], rows: Float[Tensor, "v f"], resolution: int) -> Float[Tensor, "n f"]:
    """One dense level. `grid_sample` takes the last coordinate as depth, which is the order of the rows."""
    volume = rearrange(rows, "(k j i) f -> 1 f k j i", i=resolution + 1, j=resolution + 1)
    grid = rearrange(2 * x - 1, "n c -> 1 n 1 1 c")
    sampled = torch.nn.functional.grid_sample(volume, grid, align_corners=True, padding_mode="border")
    return rearrange(sampled, "1 f n 1 1 -> n f")


class _Hashed(torch.autograd.Function):
    """The hashed levels, forward and backward each one fused loop."""

    @staticmethod
    def forward(ctx, x, table, resolutions, log2_slots):
        ctx.save_for_backward(x)
        ctx.sizes = (resolutions, log2_slots, table.shape)
        return _compiled("gather")(x, table, *_levels(resolutions, log2_slots, x.device)).flatten(1)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):  # pyright: ignore[reportIncompatibleMethodOverride]
        (x,) = ctx.saved_tensors
        resolutions, log2_slots, (rows, features) = ctx.sizes
        grad = rearrange(grad.contiguous(), "n (l f) -> n l f", f=features)
        return None, _scatter(x, grad, *_levels(resolutions, log2_slots, x.device), rows), None, None


@cache
def _levels(resolutions: tuple[int, ...], log2_slots: int, device: torch.device) -> tuple[Tensor, Tensor, int]:
    """Resolution and first row of each hashed level, and the mask that takes a hash modulo the slots."""
    r = torch.tensor(resolutions, device=device, dtype=torch.float32)
    start = torch.arange(len(resolutions), device=device, dtype=torch.int32) << log2_slots
    return r, start, 2**log2_slots - 1


def _hash(i: Tensor, j: Tensor, k: Tensor, start: Tensor, mask: int) -> Tensor:
    return ((i ^ (j * _PRIMES[1]) ^ (k * _PRIMES[2])) & mask) + start


def _gather(x: Tensor, table: Tensor, r: Tensor, start: Tensor, mask: int) -> Tensor:
    """[n, l, f], the eight corners written out so that the compiler sums them in registers."""
    position = x[:, None, :] * r[:, None]  # [n, l, 3]
    low = torch.minimum(position.floor(), r[:, None] - 1)
    (i, j, k), (u, v, w) = low.int().unbind(-1), (position - low).unbind(-1)
    total = torch.zeros((), device=x.device)
    for corner in range(8):
        a, b, c = corner & 1, corner >> 1 & 1, corner >> 2 & 1
        weight = (u if a else 1 - u) * (v if b else 1 - v) * (w if c else 1 - w)
        total = total + table[_hash(i + a, j + b, k + c, start, mask)] * weight[..., None]
    return total


def _scatter(x: Tensor, grad: Tensor, r: Tensor, start: Tensor, mask: int, rows: int) -> Tensor:
    """[rows, f], the adjoint of `_gather`.

    On a CPU the compiler's indexed accumulation is a loop of compare-and-swap. Writing the contributions out and adding
    them with `scatter_add_`, two features at a time as one complex number, took a third of the time.
    """
    index, values = _compiled("contributions")(x, grad, r, start, mask)
    if x.is_cuda or values.shape[-1] % 2:
        return grad.new_zeros(rows, grad.shape[-1]).index_put_((index,), values, accumulate=True)
    pairs = torch.view_as_complex(rearrange(values, "n l k (p c) -> (n l k) p c", c=2))
    index = index.flatten()
    sums = [torch.zeros(rows, dtype=pairs.dtype).scatter_add_(0, index, pair) for pair in pairs.unbind(1)]
    return torch.view_as_real(torch.stack(sums, 1)).flatten(1)


def _contributions(x: Tensor, grad: Tensor, r: Tensor, start: Tensor, mask: int) -> tuple[Tensor, Tensor]:
    """Rows [n, l, 8] and values [n, l, 8, f] that the adjoint adds up."""
    position = x[:, None, :] * r[:, None]
    low = torch.minimum(position.floor(), r[:, None] - 1)
    share = (position - low)[:, :, None, :]  # [n, l, 1, 3]
    corner = torch.arange(8, device=x.device, dtype=torch.int32)
    bits = torch.stack([corner & 1, corner >> 1 & 1, corner >> 2 & 1], -1)  # [8, 3]
    i, j, k = (low.int()[:, :, None, :] + bits).unbind(-1)  # [n, l, 8]
    weight = torch.where(bits.bool(), share, 1 - share).prod(-1)
    return _hash(i, j, k, start[:, None], mask).long(), weight[..., None] * grad[:, :, None, :]


@cache
def _compiled(name: str) -> Callable[..., Any]:
    function = {"gather": _gather, "contributions": _contributions}[name]
    return torch.compile(function, dynamic=True)


def _use_compiled(device: str, backend: Backend) -> bool:
    if backend == "eager":
        return False
    possible = device == "cuda" or any(shutil.which(name) for name in ("g++", "clang++", "c++"))
    if backend == "compiled" and not possible:
        raise RuntimeError(
            "backend='compiled' needs a C++ compiler for torch.compile, and found neither g++ nor clang++. "
            "Install one, or use backend='auto' or 'eager'."
        )
    return possible
