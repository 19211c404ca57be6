r"""Multiresolution hash-grid encoding (Mueller 2022, Instant NGP, section 3).

    x        position in the unit cube of 2, 3 or 4 dimensions
    s_l      scale of level l: cells along the unit
    table    features of all levels, one row a vertex (dense levels) or a slot (hashed levels)

A level interpolates between the features of the 4, 8 or 16 vertices around `x s_l`. A level that fits into the slots is
dense: vertex (i, j, k) is row `i + n (j + n k)`, with n vertices along an axis. The others share slots by the hash of
eq. 4, `(i xor 2654435761 j xor 805459861 k xor 3674653429 m) mod T`; collisions are not resolved.

There are three implementations: the definition in plain torch, functions that torch.compile fuses for a CPU
(`compiled`), and Triton kernels (`kernels`).
"""

import shutil
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from scorereg.ops._hash_encode.shape import PRIMES, GridShape
from scorereg.ops.dispatch import check_triton, use_triton

__all__ = ["Backend", "hash_encode", "hash_encode_reference"]

Backend = Literal["auto", "triton", "compiled", "eager"]


def hash_encode(
    x: Float[Tensor, "n d"], table: Float[Tensor, "rows f"], shape: GridShape, *, backend: Backend = "auto"
) -> Float[Tensor, "n lf"]:
    """Interpolated features of all levels, concatenated from coarse to fine.

    Sums are float32, and so is the result, whatever the table is stored in; float64 stays float64. Differentiable once
    to `x` and to `table`, whose gradient is rounded to the table's dtype after it is summed.

    Args:
        x: Positions in [0, 1]; outside, the nearest position of the cube is taken, with gradient 0. A NaN
            reaches its own row of the result alone.
        table: Rows of all levels, `sum(shape.rows)` of them.
        shape: Sizes of the grid.
        backend: `"triton"` runs the kernels, `"compiled"` functions fused by torch.compile, `"eager"` the reference.
            `"auto"` takes the kernels on CUDA, and elsewhere the fused functions if there is a C++ compiler. Their
            first call compiles, for some ten seconds, unless an earlier process did.

    Raises:
        ValueError: If positions or table do not have the shape's dimensions, rows and features.
        RuntimeError: If the chosen backend cannot run here.
    """
    if table.shape != (sum(shape.rows), shape.features):
        raise ValueError(
            f"hash_encode needs a table of shape ({sum(shape.rows)}, {shape.features}) for {shape}, "
            f"got {tuple(table.shape)}."
        )
    if x.shape[1] != shape.dimensions:
        raise ValueError(
            f"hash_encode needs positions of {shape.dimensions} coordinates for {shape}, got {x.shape[1]}."
        )
    if backend == "triton" or (backend == "auto" and use_triton(x, table)):
        check_triton("backend='triton'", "Use backend='auto'", x, table)
        from scorereg.ops._hash_encode.kernels import hash_encode_triton  # imported only where it can run

        return hash_encode_triton(x, table, shape)
    if _use_compiled(x.device.type, backend):
        from scorereg.ops._hash_encode.compiled import hash_encode_compiled

        return hash_encode_compiled(x, table, shape)
    return hash_encode_reference(x, table, shape)


def hash_encode_reference(
    x: Float[Tensor, "n d"], table: Float[Tensor, "rows f"], shape: GridShape
) -> Float[Tensor, "n lf"]:
    """The definition of `hash_encode` in plain torch, in any precision."""
    exact = torch.promote_types(torch.promote_types(x.dtype, table.dtype), torch.float32)
    x, table = x.to(exact).clamp(0, 1), table.to(exact)
    out = []
    for level, scale in enumerate(shape.scales):
        low, share = _cell(x, scale, shape)
        total = torch.zeros_like(table[:1]).expand(len(x), -1)
        for corner in range(2**shape.dimensions):
            bits = (corner >> torch.arange(shape.dimensions, device=x.device)) & 1
            row = _row(low.long() + bits, level, shape)
            weight = torch.where(bits.bool(), share, 1 - share).prod(-1)
            total = total + weight[:, None] * table[shape.starts[level] + row]
        out.append(total)
    return torch.cat(out, -1)


def _cell(x: Tensor, scale: float, shape: GridShape) -> tuple[Tensor, Tensor]:
    """Lower corner of the cell around each position, and the share of its upper neighbour along each axis."""
    position = x * scale + (0.5 if shape.staggered else 0.0)
    low = torch.where(position > 0, position.detach().floor(), 0)  # NaN has a cell too, and keeps its share
    if not shape.staggered:
        low = low.clamp(max=scale - 1)
    share = position - low
    return low, share * share * (3 - 2 * share) if shape.interpolation == "smoothstep" else share


def _row(vertex: Tensor, level: int, shape: GridShape) -> Tensor:
    """Row of each vertex [n, d] within its level."""
    row = torch.zeros_like(vertex[:, 0])
    for d, index in enumerate(vertex.unbind(-1)):
        row = row + index * shape.sides[level] ** d if level < shape.dense else row ^ (index * PRIMES[d])
    return row % shape.rows[level]  # a staggered cell may reach past the last vertex: that is the first of the next row


def _use_compiled(device: str, backend: Backend) -> bool:
    if backend == "eager" or (backend == "auto" and device != "cpu"):
        return False
    possible = device == "cuda" or any(shutil.which(name) for name in ("g++", "clang++", "c++"))
    if backend == "compiled" and not possible:
        raise RuntimeError(
            "backend='compiled' needs a C++ compiler for torch.compile, and found neither g++ nor clang++. "
            "Install one, or use backend='auto' or 'eager'."
        )
    return possible
