"""Distortion in linear time against the double sum; more about it stands in test_baselines."""

import pytest
import torch
from torch.testing import assert_close

from scorereg.ops import distortion, distortion_reference


def histogram(*shape, dtype=torch.float64, device="cpu"):
    weights = torch.rand(*shape, dtype=dtype, device=device)
    edges = torch.rand(*shape[:-1], shape[-1] + 1, dtype=dtype, device=device).sort(-1).values
    return weights.requires_grad_(), edges.requires_grad_()


@pytest.mark.parametrize("shape", [(1,), (2,), (0,), (3, 7), (2, 3, 33), (0, 4), (3, 0)], ids=str)
def test_it_is_the_double_sum(shape, device):
    given = histogram(*shape, device=device)
    exact, actual = distortion_reference(*given), distortion(*given)
    assert_close(actual, exact)
    cotangent = torch.randn(shape[:-1], dtype=torch.float64, device=device)
    assert_close(torch.autograd.grad(actual, given, cotangent), torch.autograd.grad(exact, given, cotangent))


@pytest.mark.parametrize("function", [distortion, distortion_reference])
def test_gradients_by_differences(function):
    assert torch.autograd.gradcheck(function, histogram(3, 6))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_storage_is_summed_in_single_precision(dtype, device):
    edges = (torch.arange(49.0, device=device) / 64).expand(20, 49)  # that half precision holds, and holds apart
    given = [x.to(dtype).requires_grad_() for x in (torch.rand(20, 48, device=device), edges)]
    actual, exact = distortion(*given), distortion_reference(*(x.double() for x in given))
    assert actual.dtype == torch.float32
    assert_close(actual.double(), exact, rtol=1e-5, atol=1e-6)
    grads = torch.autograd.grad(actual.sum(), given)
    bound = max(4e-6, torch.finfo(dtype).eps)
    for grad, truth in zip(grads, torch.autograd.grad(exact.sum(), given), strict=True):
        assert_close(grad, truth, rtol=bound, atol=10 * bound)


def test_far_from_the_origin_nothing_is_lost():
    """Gaps, not positions, are summed: edges around 1e4 whose distances float32 holds exactly."""
    edges = 1e4 + torch.arange(9.0) / 64
    weights = torch.rand(8)
    exact = distortion_reference(weights.double(), edges.double())
    assert_close(distortion(weights, edges).double(), exact, rtol=1e-6, atol=0)


def test_a_gradient_that_nobody_needs_is_not_computed():
    weights, edges = histogram(2, 5)
    distortion(weights, edges.detach()).sum().backward()
    assert weights.grad is not None
    assert edges.grad is None


def test_inputs_that_do_not_lie_in_a_row():
    weights = torch.rand(7, 6, dtype=torch.float64).transpose(0, 1)[::2]
    edges = torch.rand(3, 8, dtype=torch.float64).sort(-1).values
    assert_close(distortion(weights, edges), distortion_reference(weights, edges))


def test_second_derivative_is_refused():
    weights, edges = histogram(2, 4)
    (grad,) = torch.autograd.grad(distortion(weights, edges).square().sum(), weights, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()
