"""The hash grid's definition against a loop written from the paper, its sizes, and its mistakes."""

import itertools
import math
import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from scorereg.ops import GridShape, hash_encode, hash_encode_reference
from scorereg.ops._hash_encode import compiled as op

EPS = torch.finfo(torch.float32).eps
SHAPE = GridShape(levels=4, features=2, log2_slots=9, base=3, finest=40)  # resolutions 3, 7, 16, 40: two are dense
DENSE = GridShape(levels=3, features=2, log2_slots=12, base=2, finest=8)
HASHED = GridShape(levels=2, features=2, log2_slots=4, base=5, finest=11)


def table_of(shape, dtype=torch.float32, device="cpu"):
    return torch.randn(sum(shape.rows), shape.features, dtype=dtype, device=device)


def places(count, device="cpu"):
    """Random positions, with the corners, the middle, a grid line and outsiders among them where there is room."""
    special = [[0, 0, 0], [1, 1, 1], [0, 1, 0.5], [1, 0, 1 / 3], [-0.3, 0.4, 2], [1 - EPS, EPS, 0.25], [0.5, 0.5, 0.5]]
    x = torch.rand(count, 3)
    known = torch.tensor(special)[:count] if count > 10 else x[:0]
    x[: len(known)] = known
    return x.to(device)


@pytest.fixture
def uncompiled(monkeypatch):
    functions = {"gather": op._gather, "slope": op._slope, "contributions": op._contributions}
    monkeypatch.setattr(op, "_compiled", functions.__getitem__)


def test_eager_is_the_reference():
    x, table = places(20), table_of(SHAPE)
    assert_close(hash_encode(x, table, SHAPE, backend="eager"), hash_encode_reference(x, table, SHAPE), rtol=0, atol=0)


# the definition


PRIMES = (1, 2654435761, 805459861, 3674653429)


def paper(x, table, shape):
    """Section 3 of the paper, one point, level, corner and feature at a time."""
    out, start = [], 0
    for r, rows in zip(shape.resolutions, shape.rows, strict=True):
        low = [min(math.floor(c * r), r - 1) for c in x]
        share = [c * r - i for c, i in zip(x, low, strict=True)]
        if shape.interpolation == "smoothstep":  # appendix A
            share = [3 * s**2 - 2 * s**3 for s in share]
        feature = [0.0] * shape.features
        for corner in itertools.product((0, 1), repeat=len(x)):
            vertex = [a + b for a, b in zip(low, corner, strict=True)]
            weight = math.prod(s if c else 1 - s for s, c in zip(share, corner, strict=True))
            if (r + 1) ** len(x) <= 2**shape.log2_slots:
                row = sum(i * (r + 1) ** d for d, i in enumerate(vertex))
            else:  # products are taken modulo 2^32, as in unsigned integers
                row = 0
                for i, prime in zip(vertex, PRIMES, strict=False):
                    row ^= i * prime % 2**32
                row %= rows
            for f in range(shape.features):
                feature[f] += weight * table[start + row, f].item()
        out += feature
        start += rows
    return out


@pytest.mark.parametrize(
    "shape",
    [
        SHAPE, DENSE, HASHED, GridShape(2, 1, 6, 300, 2048), GridShape(3, 2, 6, 3, 20, dimensions=2),
        GridShape(2, 2, 8, 2, 5, dimensions=4), GridShape(3, 2, 7, 2, 9, interpolation="smoothstep"),
    ],
    ids=["both", "dense", "hashed", "fine", "plane", "space-time", "smooth"],
)  # fmt: skip
def test_reference_is_the_paper(shape):
    table = table_of(shape, torch.float64)
    x = torch.cat([torch.rand(6, 4, dtype=torch.float64), torch.tensor([[0.0, 1, 0.5, 1], [1, 1, 1, 1]])]).double()
    x = x[:, : shape.dimensions]
    expected = torch.tensor([paper(point, table, shape) for point in x.tolist()], dtype=torch.float64)
    assert_close(hash_encode_reference(x, table, shape), expected)


@pytest.mark.parametrize("staggered", [False, True])
@pytest.mark.parametrize("interpolation", ["linear", "smoothstep"])
@pytest.mark.parametrize("dimensions", [2, 3, 4])
def test_reference_gradient(dimensions, interpolation, staggered):
    shape = GridShape(2, 2, dimensions, 1, 3, dimensions, interpolation, staggered)  # one dense level, one hashed
    x = torch.rand(2, dimensions, dtype=torch.float64, requires_grad=True)
    table = table_of(shape, torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, table: hash_encode_reference(x, table, shape), (x, table))


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("backend", ["eager", "compiled"])
def test_a_dense_level_reproduces_linear_functions(backend):
    """The rows' order: vertex (i, j, k) at (i, j, k) / r is row i + (r + 1) (j + (r + 1) k)."""
    shape = GridShape(1, 3, 12, 5, 5)
    axis = torch.linspace(0, 1, 6)
    k, j, i = torch.meshgrid(axis, axis, axis, indexing="ij")
    table = torch.stack([i, j, 2 * i - 3 * j + k], -1).reshape(-1, 3)
    x = torch.rand(50, 3)
    expected = torch.stack([x[:, 0], x[:, 1], 2 * x[:, 0] - 3 * x[:, 1] + x[:, 2]], -1)
    assert_close(hash_encode(x, table, shape, backend=backend), expected)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("backend", ["eager", "compiled"])
def test_outside_the_cube_the_nearest_position_counts(backend):
    x = 4 * torch.rand(200, 3) - 2
    table = table_of(SHAPE)
    inside = hash_encode(x.clamp(0, 1), table, SHAPE, backend=backend)
    assert_close(hash_encode(x, table, SHAPE, backend=backend), inside, rtol=0, atol=0)


@pytest.mark.usefixtures("uncompiled")
def test_collisions_add_up():
    """With two slots every vertex shares: of a table of ones all that is left is the sum of the shares, 1."""
    shape = GridShape(3, 2, 1, 4, 30)
    x = places(40)
    one = hash_encode(x, torch.ones(sum(shape.rows), 2), shape, backend="compiled")
    assert_close(one, torch.ones(40, 6), rtol=0, atol=8 * EPS)
    table = torch.zeros(sum(shape.rows), 2).requires_grad_()
    (grad,) = torch.autograd.grad(hash_encode(x, table, shape, backend="compiled").sum(), table)
    assert_close(grad.reshape(3, 2, 2).sum(1), torch.full((3, 2), 40.0), rtol=1e-5, atol=0)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3), st.integers(0, 2**31))
def test_shares_sum_to_one_and_values_stay_between(point, seed):
    x = torch.tensor([point])
    table = torch.rand(sum(SHAPE.rows), 2, generator=torch.Generator().manual_seed(seed))
    value = hash_encode_reference(x, table, SHAPE)
    assert value.min() >= table.min() - 1e-6
    assert value.max() <= table.max() + 1e-6
    one = hash_encode_reference(x, torch.ones_like(table), SHAPE)
    assert_close(one, torch.ones_like(one), rtol=0, atol=4 * EPS)


# sizes


def test_sizes_of_the_default_grid():
    shape = GridShape()
    assert shape.resolutions[0] == 16
    assert shape.resolutions[-1] == 1024
    ratios = [b / a for a, b in itertools.pairwise(shape.resolutions)]
    assert max(ratios) < 1.07 * min(ratios)  # whole numbers near a constant factor
    assert shape.dense == 3
    assert all(rows == min((r + 1) ** 3, 2**18) for rows, r in zip(shape.rows, shape.resolutions, strict=True))


def test_one_level_has_the_base_resolution():
    assert GridShape(1, 2, 10, 7, 7).resolutions == (7,)


@pytest.mark.parametrize(
    "wrong", [{"levels": 0}, {"features": 0}, {"log2_slots": 0}, {"base": 0}, {"base": 9, "finest": 8}], ids=str
)
def test_impossible_sizes_are_refused(wrong):
    with pytest.raises(ValueError, match=r"sizes of at least 1 and finest >= base, got GridShape\(levels="):
        GridShape(**wrong)


@pytest.mark.parametrize("backend", ["auto", "eager", "compiled"])
@pytest.mark.parametrize("wrong", [(1, 2), (sum(SHAPE.rows), 3), (sum(SHAPE.rows) + 1, 2)], ids=str)
def test_a_table_of_another_shape_is_refused(wrong, backend):
    rows = sum(SHAPE.rows)
    says = rf"table of shape \({rows}, 2\) for GridShape.*got \({wrong[0]}, {wrong[1]}\)"
    with pytest.raises(ValueError, match=says):
        hash_encode(places(3), torch.zeros(wrong), SHAPE, backend=backend)


@pytest.mark.parametrize("wrong", [{"dimensions": 1}, {"dimensions": 5}, {"log2_slots": 31}], ids=str)
def test_sizes_that_cannot_be_indexed_are_refused(wrong):
    with pytest.raises(ValueError, match=r"2, 3 or 4 dimensions and log2_slots <= 30, got GridShape\(levels="):
        GridShape(**wrong)


@pytest.mark.parametrize("backend", ["auto", "eager", "compiled"])
def test_positions_of_other_dimensions_are_refused(backend):
    with pytest.raises(ValueError, match=r"positions of 3 coordinates for GridShape.*got 2"):
        hash_encode(torch.rand(5, 2), table_of(SHAPE), SHAPE, backend=backend)


def test_smoothstep_has_no_slope_at_a_vertex():
    shape = GridShape(1, 2, 12, 5, 5, interpolation="smoothstep")
    x = (torch.randint(0, 6, (20, 3)).double() / 5).requires_grad_()
    hash_encode_reference(x, table_of(shape, torch.float64), shape).sum().backward()
    assert x.grad is not None
    assert_close(x.grad, torch.zeros_like(x), rtol=0, atol=1e-12)


# where a backend cannot run


def test_triton_that_cannot_run_says_so(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(RuntimeError, match=r"backend='triton' needs Triton and CUDA tensors of float32.*on cpu"):
        hash_encode(places(3), table_of(SHAPE), SHAPE, backend="triton")


def test_triton_refuses_float64():
    with pytest.raises(RuntimeError, match=r"needs Triton and CUDA tensors of .*torch.float64 on"):
        hash_encode(places(3).double(), table_of(SHAPE), SHAPE, backend="triton")


def test_compiled_without_a_compiler_says_so(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match=r"backend='compiled' needs a C\+\+ compiler.*Install one, or use"):
        hash_encode(places(3), table_of(SHAPE), SHAPE, backend="compiled")


def test_auto_without_a_compiler_is_the_reference(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    x, table = places(20), table_of(SHAPE)
    assert_close(hash_encode(x, table, SHAPE), hash_encode_reference(x, table, SHAPE), rtol=0, atol=0)
