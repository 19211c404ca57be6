"""The fast paths of the hash grid against its definition in float64: values, and the gradients to table and positions.

The functions for the CPU run in two ways: as torch.compile builds them, in a few shapes (each is a build), and
uncompiled, in many. The kernels run in Triton's interpreter, or on a GPU where there is one.
"""

import math
import shutil

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from scorereg.ops import GridShape, hash_encode, hash_encode_reference
from scorereg.ops._hash_encode import compiled as op

EPS = torch.finfo(torch.float32).eps
SHAPE = GridShape(levels=4, features=2, log2_slots=9, base=3, finest=40)  # resolutions 3, 7, 16, 40: two are dense
SHAPES = {
    "both": SHAPE,
    "dense": GridShape(3, 2, 12, 2, 8),
    "hashed": GridShape(2, 2, 4, 5, 11),
    "one": GridShape(1, 1, 12, 4, 4),
    "three features": GridShape(3, 3, 9, 3, 20),
    "four features": GridShape(3, 4, 9, 3, 20),
    "plane": GridShape(4, 2, 6, 3, 30, dimensions=2),
    "space-time": GridShape(2, 2, 9, 2, 9, dimensions=4),
    "smooth": GridShape(3, 2, 9, 3, 20, interpolation="smoothstep"),
    "staggered": GridShape(4, 2, 9, 3, 40, staggered=True),
    "staggered plane": GridShape(4, 1, 6, 3, 30, 2, "smoothstep", True),
    "staggered space-time": GridShape(2, 2, 8, 2, 9, 4, "linear", True),
}
needs_compiler = pytest.mark.skipif(
    not any(shutil.which(name) for name in ("g++", "clang++", "c++")), reason="needs a C++ compiler"
)


def compiles(test):
    """torch.compile warns about itself as it starts, cannot see through the shape checker, and gives up in silence."""
    test = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning:torch")(test)
    return pytest.mark.usefixtures("as_user", "no_silent_fallback")(test)


@pytest.fixture
def no_silent_fallback():
    """Past its limit of builds torch.compile runs the plain function; then nothing would be tested."""
    torch._dynamo.reset()  # the shape checker's wrappers share one limit
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        yield


@pytest.fixture
def uncompiled(monkeypatch):
    functions = {"gather": op._gather, "slope": op._slope, "contributions": op._contributions}
    monkeypatch.setattr(op, "_compiled", functions.__getitem__)


@pytest.fixture(params=["compiled", "triton"])
def backend(request, uncompiled):
    if request.param == "triton":
        pytest.importorskip("triton")
    return request.param


def table_of(shape, device="cpu", dtype=torch.float32):
    return torch.randn(sum(shape.rows), shape.features, device=device).to(dtype)


def places(count, shape, device="cpu"):
    """Random positions, with the corners, the middle, a grid line and outsiders among them where there is room."""
    special = [[0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0.5, 0], [-0.3, 0.4, 2, 0.7], [1 - EPS, EPS, 0.25, 0.1], [0.5] * 4]
    x = torch.rand(count, 4)
    known = torch.tensor(special)[:count] if count > 10 else x[:0]
    x[: len(known)] = known
    return x[:, : shape.dimensions].contiguous().to(device)


def off_the_borders(x, shape):
    """Points whose cell does not depend on rounding: elsewhere the slope may be that of a neighbouring cell."""
    position = x.double()[:, :, None] * torch.tensor(shape.scales, dtype=torch.float64, device=x.device)
    share = (position + 0.5 * shape.staggered) % 1
    return ((share > 1e-4) & (share < 1 - 1e-4)).all(-1).all(-1)


def check_parity(shape, count, backend, device="cpu", *, positions=True):
    """Values and gradients of the fast path; float64 is the truth, the tolerances are float32's."""
    x = places(count, shape, device).requires_grad_(positions)
    table = table_of(shape, device).requires_grad_()
    wanted = (table, x) if positions else (table,)
    cotangent = torch.randn(count, shape.levels * shape.features, device=device)
    exact = hash_encode_reference(x.double(), table.double(), shape)
    exact_grads = torch.autograd.grad(exact, wanted, cotangent.double())
    actual = hash_encode(x, table, shape, backend=backend)
    actual_grads = torch.autograd.grad(actual, wanted, cotangent)
    # a position is right to EPS, so a share of a cell to EPS times the resolution
    bound = 8 * EPS * shape.finest
    assert actual.dtype == torch.float32
    assert_close(actual.double(), exact, rtol=0, atol=bound)
    assert_close(actual_grads[0], exact_grads[0], rtol=0, atol=bound * math.sqrt(max(count, 1)))
    if positions:
        safe = off_the_borders(x.detach(), shape)
        assert count < 20 or safe.sum() > count // 2
        assert_close(actual_grads[1][safe], exact_grads[1][safe], rtol=1e-4, atol=4 * bound * shape.finest)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_fast_path_matches_the_reference(shape, backend, device):
    check_parity(shape, 30, backend, device)


@pytest.mark.parametrize("count", [0, 1, 127, 128, 300])
def test_any_number_of_points_matches_the_reference(count, backend, device):
    check_parity(GridShape(2, 2, 9, 3, 40), count, backend, device)


@pytest.mark.parametrize("features", [1, 2, 3, 4])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_dense_grids_need_nothing_built(features, dimensions, device, monkeypatch):
    monkeypatch.setattr(op, "_compiled", None)
    check_parity(GridShape(3, features, 12, 3, 9, dimensions), 63, "compiled", device, positions=False)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_levels_that_are_added_up_at_once_match_the_reference(threads, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(op, "_PIECE", 25)
    for features in (1, 2, 4):
        check_parity(GridShape(6, features, 7, 3, 40), 63, "compiled")


def test_runs_are_levels_of_equal_size():
    shape = GridShape(6, 2, 9, 3, 60)
    assert shape.dense == 2
    assert op._runs(shape, 1) == tuple(slice(i, i + 1) for i in range(6))
    assert op._runs(shape, 3) == (slice(0, 1), slice(1, 2), slice(2, 5), slice(5, 6))
    assert op._runs(shape, 9) == (slice(0, 1), slice(1, 2), slice(2, 6))


@needs_compiler
@compiles
def test_compiled_matches_the_reference():
    check_parity(SHAPE, 63, "compiled", positions=False)
    check_parity(SHAPE, 50, "compiled", positions=False)  # any number of points is one build


@needs_compiler
@compiles
@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_compiled_matches_the_reference_in_any_shape(shape):
    check_parity(shape, 63, "compiled")


@pytest.mark.gpu
@compiles
def test_compiled_matches_the_reference_on_the_gpu():
    check_parity(SHAPE, 63, "compiled", "cuda")


# what is stored


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_tables_are_summed_in_float32(dtype, backend, device):
    """Hundreds of points in one cell: in half precision their sum would stop growing long before."""
    shape = GridShape(2, 2, 7, 2, 5)
    x = (0.01 * torch.rand(250, 3, device=device)).requires_grad_()
    table = table_of(shape, device, dtype).requires_grad_()
    cotangent = 15 * torch.rand(250, 4, device=device)
    exact = hash_encode_reference(x.double(), table.detach().double().requires_grad_(), shape)
    actual = hash_encode(x, table, shape, backend=backend)
    assert actual.dtype == torch.float32
    assert_close(actual.double(), exact, rtol=0, atol=1e-5)
    wide = table.detach().double().requires_grad_()
    exact_grads = torch.autograd.grad(hash_encode_reference(x.double(), wide, shape), (wide, x), cotangent.double())
    actual_grads = torch.autograd.grad(actual, (table, x), cotangent)
    assert actual_grads[0].dtype == dtype
    assert_close(actual_grads[0].double(), exact_grads[0], rtol=torch.finfo(dtype).eps, atol=1e-4)
    assert_close(actual_grads[1], exact_grads[1], rtol=1e-4, atol=1e-4)


def test_reference_sums_half_gradients_in_float32():
    shape = GridShape(1, 1, 7, 1, 1)
    table = torch.zeros(8, 1, dtype=torch.bfloat16, requires_grad=True)
    hash_encode(torch.zeros(1000, 3), table, shape, backend="eager").sum().backward()
    assert table.grad is not None
    assert table.grad[0].item() == 1000.0


def test_tensors_that_are_not_contiguous(backend, device):
    x = torch.rand(3, 2, 30, device=device)[:, 1].t().requires_grad_()
    table = torch.randn(2, 2 * sum(SHAPE.rows), device=device)[:, ::2].t().requires_grad_()
    assert not x.is_contiguous()
    assert not table.is_contiguous()
    cotangent = torch.randn(30, 8, device=device)[:, torch.randperm(8)]
    plain = hash_encode(x.contiguous(), table.contiguous(), SHAPE, backend=backend)
    expected = torch.autograd.grad(plain, (x, table), cotangent.contiguous())
    actual = hash_encode(x, table, SHAPE, backend=backend)
    assert_close(actual, plain, rtol=0, atol=0)
    grads = torch.autograd.grad(actual, (x, table), cotangent.t().contiguous().t())
    assert_close(grads, expected, rtol=0, atol=1e-5)


def test_everything_is_written(backend, monkeypatch, device):
    for name in ("empty", "empty_like"):
        original = getattr(torch, name)
        poison = lambda *a, f=original, **kw: f(*a, **kw).fill_(float("nan"))  # noqa: E731
        monkeypatch.setattr(torch, name, poison)
    x = places(3, SHAPE, device).requires_grad_()
    table = table_of(SHAPE, device).requires_grad_()
    value = hash_encode(x, table, SHAPE, backend=backend)
    grads = torch.autograd.grad(value.sum(), (x, table))
    assert all(torch.isfinite(t).all() for t in (value, *grads))
    assert grads[1].eq(0).any()  # three points touch few rows


# where positions lie


def test_outside_the_cube_the_nearest_position_counts(backend, device):
    x = (2 * torch.rand(60, 3, device=device) - 0.5).requires_grad_()
    table = table_of(SHAPE, device)
    inside = hash_encode(x.detach().clamp(0, 1), table, SHAPE, backend=backend)
    value = hash_encode(x, table, SHAPE, backend=backend)
    assert_close(value, inside, rtol=0, atol=0)
    (slope,) = torch.autograd.grad(value.sum(), x)
    outside = (x < 0) | (x > 1)
    assert slope[outside].eq(0).all()
    assert slope[~outside].ne(0).all()


@pytest.mark.parametrize("staggered", [False, True])
def test_a_position_that_is_nan_touches_no_other(backend, staggered, device):
    shape = GridShape(3, 2, 9, 3, 40, staggered=staggered)
    x = places(20, shape, device)
    x[7, 1] = float("nan")
    for path in (backend, "eager"):
        value = hash_encode(x, table_of(shape, device), shape, backend=path)
        assert value[7, -2:].isnan().all()  # a hashed level; a dense one may take a place for it
        assert value[torch.arange(20) != 7].isfinite().all()


def test_three_features_stay_in_their_rows(device):
    """A kernel computes four: of a row that is spoilt nothing reaches the next."""
    pytest.importorskip("triton")
    shape = GridShape(1, 3, 9, 3, 3)
    table = table_of(shape, device).requires_grad_()
    x = torch.tensor([[0.4, float("nan"), 0.4]], device=device)
    hash_encode(x, table, shape, backend="triton").sum().backward()
    spoilt = table.grad.isnan()
    assert spoilt.any()
    assert spoilt.all(1).equal(spoilt.any(1))


# more


def test_second_derivative_is_refused(backend, device):
    table = table_of(SHAPE, device).requires_grad_()
    loss = hash_encode(places(5, SHAPE, device), table, SHAPE, backend=backend).square().sum()
    (grad,) = torch.autograd.grad(loss, table, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


def test_collisions_add_up(backend, device):
    """With two slots every vertex shares: of a table of ones all that is left is the sum of the shares, 1."""
    shape = GridShape(3, 2, 1, 4, 30)
    x = places(40, shape, device)
    table = torch.ones(sum(shape.rows), 2, device=device, requires_grad=True)
    one = hash_encode(x, table, shape, backend=backend)
    assert_close(one, torch.ones(40, 6, device=device), rtol=0, atol=8 * EPS)
    (grad,) = torch.autograd.grad(one.sum(), table)
    assert_close(grad.reshape(3, 2, 2).sum(1), torch.full((3, 2), 40.0, device=device), rtol=1e-5, atol=0)


@pytest.mark.parametrize("features", [1, 2, 3])
def test_sorted_gradient_matches_the_reference(features, device):
    shape = GridShape(4, features, 6, 2, 20, 2, "smoothstep", True)
    x, table = places(50, shape, device), table_of(shape, device).requires_grad_()
    cotangent = torch.randn(50, 4 * features, device=device)
    (exact,) = torch.autograd.grad(hash_encode_reference(x.double(), table.double(), shape), table, cotangent.double())
    grad = cotangent.t().reshape(4, features, 50)
    assert_close(op.sorted_gradient(x.t(), grad, shape), exact, rtol=0, atol=1e-4)


@pytest.mark.usefixtures("deterministic")
def test_kernels_can_be_asked_for_an_order(device):
    pytest.importorskip("triton")
    x, table = places(50, SHAPE, device), table_of(SHAPE, device).requires_grad_()
    cotangent = torch.randn(50, 8, device=device)
    (expected,) = torch.autograd.grad(hash_encode_reference(x, table, SHAPE), table, cotangent)
    actual = [
        torch.autograd.grad(hash_encode(x, table, SHAPE, backend="triton"), table, cotangent)[0] for _ in range(3)
    ]
    assert_close(actual[0], expected, rtol=0, atol=1e-4)
    assert torch.equal(actual[0], actual[1])
    assert torch.equal(actual[0], actual[2])


@pytest.mark.slow
def test_rows_beyond_two_to_the_31_are_found(backend, monkeypatch):
    """A table of 3.2e9 numbers, of which only the pages that are touched are ever there."""
    monkeypatch.setattr(torch, "zeros", lambda *shape, dtype=torch.float32, device="cpu": lazy(shape, dtype))
    shape = GridShape(1, 3, 30, 2000, 2000)
    x = torch.rand(5, 3).requires_grad_()
    table = lazy((2**30, 3), torch.float32)
    low = (x.detach() * 2000).floor().long()
    rows = (low[:, 0] ^ (low[:, 1] * 2654435761) ^ (low[:, 2] * 805459861)) % 2**30
    assert (3 * rows).max() > 2**31
    weight = (1 - (x.detach() * 2000 - low)).prod(-1)
    table[rows] = torch.arange(15.0).reshape(5, 3)
    value = hash_encode(x, table.requires_grad_(), shape, backend=backend)
    assert_close(value, weight[:, None] * torch.arange(15.0).reshape(5, 3), rtol=1e-3, atol=1e-6)
    (grad,) = torch.autograd.grad(value.sum(), table)
    assert_close(grad[rows], weight[:, None].expand(-1, 3), rtol=1e-3, atol=1e-6)


def lazy(shape, dtype):
    """Zeros that take no memory until they are written."""
    size = shape[0] if isinstance(shape[0], tuple | torch.Size) else shape
    return torch.from_numpy(np.zeros(tuple(size), torch.empty(0, dtype=dtype).numpy().dtype))
