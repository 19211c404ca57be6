"""Counting cameras by planes, in torch and by kernel, against projecting every point into every camera."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from scorereg.cameras import Cameras, rotation_matrix
from scorereg.ops import frustum_count, frustum_count_reference, frustum_penalty, frustum_penalty_reference


@pytest.fixture(autouse=True)
def _poison(poison):
    """Every test of this file sees fresh memory filled with NaN."""


def cameras(count, seed=0, dtype=torch.float32, device="cpu"):
    """Around the origin at a distance of three, looking about there, of unequal focal lengths and off-centre."""
    generator = torch.Generator().manual_seed(seed)
    turn = rotation_matrix(torch.randn(count, 3, generator=generator) * 0.4)
    pose = torch.cat([turn, torch.tensor([0.0, 0.0, -3.0])[None, :, None].expand(count, 3, 1)], -1)
    pose = torch.cat([pose[:, :, :3], pose[:, :, 3:] + 0.5 * torch.randn(count, 3, 1, generator=generator)], -1)
    focal = torch.tensor([30.0, 25.0]).expand(count, 2) * (1 + 0.1 * torch.rand(count, 2, generator=generator))
    center = torch.tensor([19.0, 16.0]).expand(count, 2)
    return Cameras(pose.to(device, dtype), focal.to(device, dtype), center.to(device, dtype), 40, 30)


def points(*shape, device="cpu"):
    return 2 * torch.randn(*shape, 3, device=device)


def double(set_of):
    return Cameras(
        set_of.pose.double(), set_of.focal.double(), set_of.center.double(), set_of.width, set_of.height
    )  # fmt: skip


@pytest.mark.parametrize("count", [0, 1, 3, 9])
@pytest.mark.parametrize("shape", [(0,), (1,), (300,), (3, 70)], ids=str)
@pytest.mark.parametrize("limits", [{}, {"near": 2.0, "margin": 4.5}], ids=["plain", "limits"])
def test_counts_are_those_of_projection(count, shape, limits, backend, device):
    p, c = points(*shape, device=device), cameras(count, device=device)
    exact = frustum_count_reference(p.double(), double(c), **limits)
    assert_close(frustum_count(p, c, **limits), exact)
    if count == 9 and shape == (300,):
        assert exact.unique().numel() > 3


@pytest.mark.parametrize("shape", [(1, 1), (3, 63), (2, 2, 300), (0, 5), (3, 0)], ids=str)
@pytest.mark.parametrize("views", [1, 2, 5])
def test_penalty_matches_the_definition(shape, views, backend, device):
    p, c = points(*shape, device=device), cameras(3, device=device)
    weights = torch.rand(shape, device=device, requires_grad=True)
    exact = frustum_penalty_reference(weights.double(), p.double(), double(c), views=views, near=1.0)
    actual = frustum_penalty(weights, p, c, views=views, near=1.0)
    assert_close(actual.double(), exact, rtol=1e-5, atol=1e-5)
    cotangent = torch.randn_like(actual)
    (grad,) = torch.autograd.grad(actual, weights, cotangent)
    (truth,) = torch.autograd.grad(exact, weights, cotangent.double())
    assert_close(grad, truth, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_weights_are_summed_in_single_precision(dtype, backend, device):
    weights = torch.rand(2, 400, device=device).to(dtype).requires_grad_()
    p, c = points(2, 400, device=device), cameras(3, device=device)
    exact = frustum_penalty_reference(weights.double(), p.double(), double(c))
    actual = frustum_penalty(weights, p, c)
    assert_close(actual.double(), exact, rtol=1e-5, atol=1e-5)
    (grad,) = torch.autograd.grad(actual.sum(), weights)
    assert grad.dtype == dtype
    assert_close(grad.double(), torch.autograd.grad(exact.sum(), weights)[0].double())


def test_tensors_that_do_not_lie_in_a_row(backend, device):
    p = points(8, 12, device=device).transpose(0, 1)[::2]
    weights = torch.rand(8, 12, device=device).transpose(0, 1)[::2]
    c = cameras(3, device=device)
    assert_close(frustum_count(p, c), frustum_count_reference(p, c))
    assert_close(frustum_penalty(weights, p, c), frustum_penalty_reference(weights, p, c))


def test_points_that_are_nowhere(backend, device):
    c = cameras(3, device=device)
    far = torch.tensor([[math.nan, 0, 0], [math.inf, 0, 0], [0, 0, -math.inf], [1e30, 1e30, -1e30]], device=device)
    assert_close(frustum_count(far, c), torch.zeros(4, dtype=torch.long, device=device))


def test_borders_belong_to_the_image_and_near_does_not(backend, device):
    """In numbers that float32 holds."""
    pose = torch.eye(3, 4, device=device)[None]
    c = Cameras(pose, torch.full((1, 2), 16.0, device=device), torch.full((1, 2), 8.0, device=device), 16, 16)
    on = torch.tensor([[-1.0, 0, 2], [1, 0, 2], [0, -1, 2], [0, 1, 2], [1, 1, 2]], device=device)
    assert_close(frustum_count(on, c, near=1.0), torch.ones(5, dtype=torch.long, device=device))
    assert_close(frustum_count(on, c, near=2.0), torch.zeros(5, dtype=torch.long, device=device))
    assert_close(frustum_count(0 * on, c), torch.zeros(5, dtype=torch.long, device=device))  # the camera itself


def test_points_get_no_gradient(backend, device):
    p = points(2, 5, device=device).requires_grad_()
    frustum_penalty(torch.rand(2, 5, device=device, requires_grad=True), p, cameras(2, device=device)).sum().backward()
    assert p.grad is None


def test_far_from_the_origin_nothing_is_lost(backend, device):
    """Points are taken from the camera before anything is multiplied."""
    p, c = points(500, device=device), cameras(4, device=device)
    away = torch.tensor([4096.0, -8192.0, 2048.0], device=device)
    p = (p + away) - away  # what float32 holds of them there
    moved = Cameras(torch.cat([c.pose[:, :, :3], (c.pose[:, :, 3:] + away[:, None])], -1), c.focal, c.center, 40, 30)
    exact = frustum_count_reference((p + away).double(), double(moved))
    assert (frustum_count(p + away, moved) != exact).sum() <= 1


def test_gradient_by_differences():
    weights = torch.rand(2, 6, dtype=torch.float64, requires_grad=True)
    p, c = points(2, 6).double(), cameras(3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda w: frustum_penalty(w, p, c), weights)
    assert torch.autograd.gradcheck(lambda w: frustum_penalty_reference(w, p, c), weights)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(-6, 6), min_size=3, max_size=3), st.integers(0, 50), st.floats(0, 5))
def test_a_wider_frustum_sees_more(point, seed, margin):
    p, c = torch.tensor([point], dtype=torch.float64), cameras(4, seed, torch.float64)
    inside = frustum_count(p, c, margin=margin)
    assert (inside <= frustum_count(p, c)).all()
    assert (frustum_count(p, c) <= frustum_count(p, c, margin=-3.0)).all()
    assert (frustum_count(p, c, near=1.0) <= frustum_count(p, c)).all()
    assert_close(frustum_count(p, c), sum(frustum_count(p, c[k]) for k in range(4)))
