"""Parameters of tiny-cuda-nn's hash grid, against its published rules one point at a time."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from scorereg.ops import GridShape, hash_encode, hash_encode_reference
from scorereg.ops._hash_encode.tinycudann import from_tinycudann, tinycudann_config, to_tinycudann

SHAPES = [
    GridShape(4, 2, 9, 3, 40, staggered=True),
    GridShape(3, 4, 11, 4, 16, staggered=True),
    GridShape(4, 1, 6, 3, 30, 2, "smoothstep", True),
    GridShape(3, 2, 8, 2, 9, 4, "linear", True),
    GridShape(1, 2, 4, 1, 1, staggered=True),
]


def published(x, params, dimensions, config):
    """`grid_scale`, `grid_resolution`, `pos_fract` and `grid_index` of its headers, and the offsets of `grid.h`.

    Scales are float32 there; hashes and rows are unsigned integers of 32 bits.
    """
    features, base = config["n_features_per_level"], np.float32(config["base_resolution"])
    out, offset = [], 0
    for level in range(config["n_levels"]):
        step = np.log2(np.float32(config["per_level_scale"]))
        scale = np.exp2(np.float32(level) * step) * base - np.float32(1)
        resolution = math.ceil(scale) + 1
        size = min((resolution**dimensions + 7) // 8 * 8, 2 ** config["log2_hashmap_size"])
        value = [0.0] * features
        cell = [math.floor(c * float(scale) + 0.5) for c in x]
        share = [c * float(scale) + 0.5 - i for c, i in zip(x, cell, strict=True)]
        if config["interpolation"] == "Smoothstep":
            share = [s * s * (3 - 2 * s) for s in share]
        for corner in itertools.product((0, 1), repeat=dimensions):
            vertex = [i + c for i, c in zip(cell, corner, strict=True)]
            stride, index = 1, 0
            for i in vertex:
                if stride > size:
                    break
                index += i * stride
                stride *= resolution
            if size < stride:
                index = 0
                for i, prime in zip(vertex, (1, 2654435761, 805459861, 3674653429), strict=False):
                    index ^= i * prime % 2**32
            weight = math.prod(s if c else 1 - s for s, c in zip(share, corner, strict=True))
            for f in range(features):
                value[f] += weight * params[offset + (index % size) * features + f].item()
        out += value
        offset += size * features
    assert offset == len(params)
    return out


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_parameters_mean_the_same_in_both(shape):
    x = torch.rand(12, shape.dimensions)
    x[0], x[1] = 0.0, 1.0  # at 1 a dense cell reaches past the last vertex
    table = torch.randn(sum(shape.rows), shape.features)
    params = to_tinycudann(table, shape)
    expected = [published(point, params, shape.dimensions, tinycudann_config(shape)) for point in x.tolist()]
    actual = hash_encode_reference(x.double(), table.double(), shape)
    assert_close(actual, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-9)
    assert_close(from_tinycudann(params, shape), table, rtol=0, atol=0)


def test_a_trained_encoding_is_read():
    """Parameters in half precision, as an encoding that was made with `dtype=torch.half` has them."""
    shape = SHAPES[0]
    params = torch.randn(sum(shape.rows) * 2).half()
    table = from_tinycudann(params, shape)
    assert table.dtype == torch.float16
    x = torch.rand(6, 3)
    expected = [published(point, params, 3, tinycudann_config(shape)) for point in x.tolist()]
    assert_close(hash_encode(x, table, shape, backend="eager"), torch.tensor(expected), rtol=0, atol=1e-4)


def test_sizes_of_the_papers_grid():
    """16 levels from 16 to 2048 with 2^19 slots: the number of parameters that tiny-cuda-nn reports, 12,196,240."""
    shape = GridShape(16, 2, 19, 16, 2048, staggered=True)
    assert 2 * sum(shape.rows) == 12_196_240
    assert shape.sides[0] == 16
    assert shape.rows[0] == 4096
    assert shape.dense == 5
    assert all(rows % 8 == 0 for rows in shape.rows)


def test_levels_do_not_fall_together():
    """Doubling resolutions share vertices in a grid from corner to corner, and none in a staggered one."""
    x = torch.tensor([[0.25, 0.5, 0.75]])
    for staggered in (False, True):
        shape = GridShape(3, 1, 12, 4, 16, staggered=staggered)
        share = torch.tensor(shape.scales)[:, None] * x + 0.5 * staggered
        assert (share % 1 == 0).all().item() is not staggered


def test_a_grid_from_corner_to_corner_is_refused():
    shape = GridShape(2, 2, 8, 2, 5)
    with pytest.raises(ValueError, match=r"is not: no parameters of one are a table.*staggered=True"):
        to_tinycudann(torch.zeros(sum(shape.rows), 2), shape)
    with pytest.raises(ValueError, match=r"staggered by half a cell"):
        from_tinycudann(torch.zeros(2 * sum(shape.rows)), shape)


@pytest.mark.parametrize("more", [-1, 1])
def test_another_number_of_parameters_is_refused(more):
    shape = SHAPES[0]
    rows = sum(shape.rows)
    with pytest.raises(ValueError, match=rf"has {2 * rows} parameters .*shape \({2 * rows},\), but got shape"):
        from_tinycudann(torch.zeros(2 * rows + more), shape)
    with pytest.raises(ValueError, match=rf"has {2 * rows} parameters .*got shape \({rows + more}, 2\)"):
        to_tinycudann(torch.zeros(rows + more, 2), shape)
