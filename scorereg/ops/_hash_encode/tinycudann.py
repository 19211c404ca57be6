"""Conversion of tables of `hash_encode` to parameters of tiny-cuda-nn's `HashGrid` encoding, and back.

tiny-cuda-nn keeps one vector: level after level, row after row, a row's features side by side. A level has n^d rows for
its n = ceil(s) + 1 vertices along an axis, rounded up to a multiple of eight, and at most 2^T of them; its grid is
staggered by half a cell, with s = base b^l - 1 cells along the unit. A staggered `GridShape` has the same rows.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from scorereg.ops._hash_encode.shape import GridShape

__all__ = ["from_tinycudann", "tinycudann_config", "to_tinycudann"]


def tinycudann_config(shape: GridShape) -> dict[str, str | int | float]:
    """Settings with which `tinycudann.Encoding(shape.dimensions, ...)` is a grid of this shape."""
    return {
        "otype": "HashGrid",
        "n_levels": shape.levels,
        "n_features_per_level": shape.features,
        "log2_hashmap_size": shape.log2_slots,
        "base_resolution": shape.base,
        "per_level_scale": shape.growth,
        "interpolation": {"linear": "Linear", "smoothstep": "Smoothstep"}[shape.interpolation],
    }


def to_tinycudann(table: Float[Tensor, "rows f"], shape: GridShape) -> Float[Tensor, " p"]:
    """Convert a table to the `params` of a tiny-cuda-nn encoding, in float32.

    Raises:
        ValueError: If the grid is not staggered, or the table does not have the shape's rows and features.
    """
    _check(tuple(table.shape), (sum(shape.rows), shape.features), shape)
    return table.detach().to(torch.float32).flatten()


def from_tinycudann(params: Float[Tensor, " p"], shape: GridShape) -> Float[Tensor, "rows f"]:
    """Convert the `params` of a tiny-cuda-nn encoding to a table.

    Args:
        params: Parameters of the encoding alone; a network with an encoding has the network's parameters before them.
        shape: Shape of the grid, staggered; `tinycudann_config(shape)` gives the encoding's settings.

    Raises:
        ValueError: If the grid is not staggered, or the parameters are not as many as the shape's.
    """
    _check(tuple(params.shape), (sum(shape.rows) * shape.features,), shape)
    return params.detach().reshape(-1, shape.features).clone()


def _check(given: tuple[int, ...], expected: tuple[int, ...], shape: GridShape) -> None:
    if not shape.staggered:
        raise ValueError(
            f"tiny-cuda-nn's grids are staggered by half a cell, and {shape} is not: no parameters of one are a table "
            "of the other. Use GridShape(..., staggered=True)."
        )
    if given != expected:
        raise ValueError(
            f"{shape} has {math.prod(expected)} parameters in tiny-cuda-nn, shape {expected}, but got shape {given}."
        )
