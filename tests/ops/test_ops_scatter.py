"""Blocks put together again, by strided sums and by kernel, against the definition in float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from scorereg.ops import scatter_patches, scatter_patches_reference


@pytest.fixture(autouse=True)
def _poison(poison):
    """Every test of this file sees fresh memory filled with NaN."""


def check(patches, corners, shape, tolerance=4e-6, **more):
    patches = patches.detach().requires_grad_()
    exact, exact_total = scatter_patches_reference(patches.double(), corners, shape, **_double(more))
    actual, total = scatter_patches(patches, corners, shape, **more)
    assert actual.dtype == patches.dtype
    assert_close(actual.double(), exact, rtol=tolerance, atol=tolerance)
    assert_close(total.double(), exact_total)
    cotangent = torch.randn_like(exact)
    (grad,) = torch.autograd.grad(actual, patches, cotangent.to(actual.dtype))
    (truth,) = torch.autograd.grad(exact, patches, cotangent)
    assert_close(grad, truth, rtol=tolerance, atol=tolerance)


def _double(more):
    return {k: v.double() if k == "window" else v for k, v in more.items()}


CASES = {
    "a line": ((7,), (20,)),
    "an image": ((5, 7), (19, 23)),
    "one row": ((1, 7), (1, 23)),
    "a volume": ((3, 4, 5), (7, 9, 11)),
    "more than a program": ((17, 19), (23, 24)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("windowed", [True, False], ids=["window", "flat"])
def test_blocks_match_the_definition(case, windowed, backend, device):
    block, shape = CASES[case]
    corners = torch.stack([torch.randint(-2, n - m + 3, (6,)) for n, m in zip(shape, block, strict=True)], 1)
    corners[0] = 50  # outside as a whole
    window = {"window": torch.rand(block, device=device)} if windowed else {}
    check(torch.randn(6, 2, *block, device=device), corners.to(device), shape, **window)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_storage_is_summed_in_single_precision(dtype, backend, device):
    patches = torch.randn(30, 1, 4, dtype=dtype, device=device)
    check(patches, torch.randint(0, 3, (30, 1), device=device), (7,), torch.finfo(dtype).eps)


def test_blocks_that_do_not_lie_in_a_row(backend, device):
    patches = torch.randn(4, 5, 3, 4, device=device).transpose(1, 3)[:, ::2]
    check(patches, torch.tensor([[0, 0], [2, 1], [3, 3], [1, 2]], device=device), (8, 9))


@pytest.mark.parametrize("patches", [torch.zeros(0, 2, 3), torch.zeros(2, 0, 3)], ids=["blocks", "channels"])
def test_nothing(patches, backend, device):
    corners = torch.zeros(len(patches), 1, dtype=torch.long, device=device)
    out, total = scatter_patches(patches.to(device), corners, (5,))
    assert out.shape == (patches.shape[1], 5)
    assert not out.any()
    assert total.sum() == 3 * len(patches)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_it_is_the_inverse_of_cutting(d, backend, device):
    """Whatever the window, as long as it is positive."""
    whole = torch.randn(2, *(9, 8, 7)[:d], device=device)
    starts = torch.cartesian_prod(*(torch.tensor([0, 2, n - 4]) for n in whole.shape[1:])).reshape(-1, d).to(device)
    blocks = torch.stack([whole[(slice(None), *(slice(a, a + 4) for a in s))] for s in starts.tolist()])
    out, total = scatter_patches(blocks, starts, tuple(whole.shape[1:]), window=0.1 + torch.rand((4,) * d).to(device))
    assert (total > 0).all()
    assert_close(out, whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("function", [scatter_patches, scatter_patches_reference])
def test_gradients_by_differences(function, monkeypatch):
    monkeypatch.undo()
    patches = torch.rand(3, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    corners, window = torch.tensor([[0, 0], [1, 1], [-1, 2]]), torch.rand(2, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p: function(p, corners, (3, 4), window=window)[0], patches)


def test_second_derivative_is_refused(backend, device):
    patches = torch.rand(2, 1, 3, device=device, requires_grad=True)
    corners = torch.tensor([[0], [1]], device=device)
    loss = scatter_patches(patches, corners, (5,))[0].square().sum()
    (grad,) = torch.autograd.grad(loss, patches, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(-4, 12), min_size=1, max_size=6), st.integers(1, 5), st.integers(0, 2**31))
def test_averages_stay_between_and_weights_add_up(starts, side, seed):
    generator = torch.Generator().manual_seed(seed)
    window = torch.rand(side, generator=generator) + 0.01
    corners = torch.tensor(starts)[:, None]
    patches = torch.rand(len(starts), 1, side, generator=generator)
    out, total = scatter_patches(patches, corners, (10,), window=window)
    assert out.min() >= 0
    assert out.max() <= patches.max() + 1e-6
    seen = ((corners + torch.arange(side) >= 0) & (corners + torch.arange(side) < 10)).float()
    assert_close(total.sum(), (seen * window).sum())
    ones, _ = scatter_patches(torch.ones_like(patches), corners, (10,), window=window)
    assert_close(ones[0], (total > 0).float())


@pytest.mark.usefixtures("deterministic")
def test_an_order_can_be_asked_for(device, monkeypatch):
    """By sums in plain torch, of which every run gives the same, also where the kernel would run."""
    pytest.importorskip("triton")
    monkeypatch.setenv("SCOREREG_OPS", "triton")
    patches, corners = torch.randn(40, 2, 6, 6, device=device), torch.randint(0, 5, (40, 2))
    monkeypatch.setattr("scorereg.ops._scatter_patches.kernels.scatter_patches_triton", None)
    first, _ = scatter_patches(patches, corners, (10, 10))
    assert all(torch.equal(first, scatter_patches(patches, corners, (10, 10))[0]) for _ in range(3))
    monkeypatch.setenv("SCOREREG_OPS", "reference")
    assert torch.equal(first, scatter_patches(patches, corners, (10, 10))[0])


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(("corners", "shape"), [((2, 1), (5,)), ((2, 2), (5,)), ((2, 1), (5, 5))], ids=str)
def test_mistakes_are_named(corners, shape):
    with pytest.raises(ValueError, match="got blocks of 2, corners of shape"):
        scatter_patches(torch.zeros(2, 1, 3, 3), torch.zeros(corners, dtype=torch.long), shape)
