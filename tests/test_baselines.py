"""Each term against its definition, written out."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from scorereg import baselines
from scorereg.cameras import Cameras
from scorereg.rendering import Render


def double_sum(weights, edges):
    """mip-NeRF 360, eq. 15, as it is printed."""
    middle = (edges[..., 1:] + edges[..., :-1]) / 2
    apart = (middle[..., :, None] - middle[..., None, :]).abs()
    pairs = (weights[..., :, None] * weights[..., None, :] * apart).sum((-2, -1))
    return pairs + (weights.square() * (edges[..., 1:] - edges[..., :-1])).sum(-1) / 3


def histogram(*shape):
    weights = torch.rand(*shape, dtype=torch.float64)
    edges = torch.rand(*shape[:-1], shape[-1] + 1, dtype=torch.float64).sort(-1).values
    return weights, edges


# distortion


@pytest.mark.parametrize("shape", [(1,), (2,), (3, 7), (2, 3, 33), (0, 4)], ids=str)
def test_distortion_is_the_double_sum(shape):
    weights, edges = (x.requires_grad_() for x in histogram(*shape))
    exact, actual = double_sum(weights, edges), baselines.distortion(weights, edges)
    assert actual.shape == shape[:-1]
    assert_close(actual, exact)
    cotangent = torch.randn(shape[:-1], dtype=torch.float64)
    exact_grads = torch.autograd.grad(exact, (weights, edges), cotangent)
    assert_close(torch.autograd.grad(actual, (weights, edges), cotangent), exact_grads)


def test_distortion_in_single_precision():
    weights, edges = histogram(50, 48)
    weights = weights / weights.sum(-1, keepdim=True)
    actual = baselines.distortion(weights.float(), edges.float())
    assert_close(actual.double(), double_sum(weights, edges), rtol=1e-5, atol=1e-6)


numbers = st.lists(st.floats(0, 1), min_size=1, max_size=8)


@settings(deadline=None, max_examples=60)
@given(numbers, st.floats(-5, 5), st.floats(0.1, 10), st.integers(0, 2**31))
def test_distortion_of_moved_and_stretched_rays(values, shift, factor, seed):
    weights = torch.tensor(values, dtype=torch.float64)
    edges = (
        torch.rand(len(values) + 1, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).sort().values
    )
    plain = baselines.distortion(weights, edges)
    close = {"rtol": 1e-9, "atol": 1e-9}
    assert plain >= -1e-12
    assert_close(baselines.distortion(weights, edges + shift), plain, **close)
    assert_close(baselines.distortion(weights, factor * edges), factor * plain, **close)
    assert_close(baselines.distortion(factor * weights, edges), factor**2 * plain, **close)
    mirrored = baselines.distortion(weights.flip(0), -edges.flip(0))
    assert_close(mirrored, plain, **close)


@settings(deadline=None, max_examples=60)
@given(numbers, st.data())
def test_distortion_does_not_see_how_an_interval_is_cut(values, data):
    """It is the exact integral for a piecewise constant ray: what a cut gains in pairs it loses in widths."""
    k = data.draw(st.integers(0, len(values) - 1))
    share = data.draw(st.floats(0.01, 0.99))
    edges = list(range(len(values) + 1))
    cut = [*edges[: k + 1], k + share, *edges[k + 1 :]]
    split = [*values[:k], share * values[k], (1 - share) * values[k], *values[k + 1 :]]
    whole = baselines.distortion(torch.tensor(values).double(), torch.tensor(edges).double())
    parts = baselines.distortion(torch.tensor(split).double(), torch.tensor(cut).double())
    assert_close(parts, whole, rtol=1e-6, atol=1e-9)


def test_distortion_of_one_interval():
    weights, edges = torch.tensor([0.6]), torch.tensor([0.25, 0.75])
    assert_close(baselines.distortion(weights, edges), torch.tensor(0.36 * 0.5 / 3))


def test_distortion_of_two_thin_surfaces():
    edges = torch.tensor([0.0, 1e-6, 0.5, 0.5 + 1e-6], dtype=torch.float64)
    weights = torch.tensor([0.3, 0.0, 0.7], dtype=torch.float64)
    assert_close(baselines.distortion(weights, edges), torch.tensor(2 * 0.3 * 0.7 * 0.5).double(), rtol=1e-5, atol=0)


# frustum


def two_cameras():
    """10 x 10 pixels of focal length 5 (45 degrees to either side), at x = -1 and x = 1, both looking along z."""
    pose = torch.eye(3, 4).repeat(2, 1, 1)
    pose[:, 0, 3] = torch.tensor([-1.0, 1.0])
    return Cameras(pose, torch.full((2, 2), 5.0), torch.full((2, 2), 5.0), 10, 10)


def render_of(points, weights):
    edges = torch.linspace(0, 1, points.shape[1] + 1).expand(len(points), -1)
    one = weights.sum(-1)
    return Render(torch.zeros(len(points), 3), one, one, weights, edges, points, weights, edges)


# by x, at a depth of 2: the left camera sees -3 to 1, the right one -1 to 3
POINTS = torch.tensor(
    [[[0.0, 0, 2], [-2, 0, 2], [2.5, 0, 2], [4, 0, 2]], [[0, 5, 2], [0, 0, -2], [-2.9, 1.9, 2], [0, 0, 9]]]
)
MISSING = torch.tensor([[0.0, 1, 1, 2], [2, 2, 1, 0]])  # of the two views


def test_frustum_counts_by_hand():
    weights = torch.rand(2, 4)
    actual = baselines.frustum(render_of(POINTS, weights), two_cameras())
    assert_close(actual, (weights * MISSING).sum(-1))


def test_frustum_is_differentiable_to_the_weights_alone():
    weights, points = torch.rand(2, 4).requires_grad_(), POINTS.clone().requires_grad_()
    baselines.frustum(render_of(points, weights), two_cameras()).sum().backward()
    assert weights.grad is not None
    assert_close(weights.grad, MISSING)
    assert points.grad is None


@pytest.mark.parametrize(("views", "factor"), [(1, [0.0, 0, 0, 1]), (2, [0, 1, 1, 2]), (3, [0, 1, 1, 2])])
def test_frustum_asks_for_at_most_as_many_views_as_there_are(views, factor):
    weights = torch.rand(1, 4)
    actual = baselines.frustum(render_of(POINTS[:1], weights), two_cameras(), views=views)
    assert_close(actual, (weights * torch.tensor(factor)).sum(-1))


def test_frustum_of_one_camera():
    weights = torch.ones(1, 4)
    actual = baselines.frustum(render_of(POINTS[:1], weights), two_cameras()[0])
    assert_close(actual, torch.tensor([2.0]))  # 2.5 and 4 are outside


# opacity


def test_opacity():
    opacity = torch.tensor([0.0, 0.25, 1.0], requires_grad=True)
    value = baselines.opacity(opacity)
    assert_close(value.detach(), torch.tensor([1.0, 0.5625, 0.0]))
    (grad,) = torch.autograd.grad(value.sum(), opacity)
    assert_close(grad, torch.tensor([-2.0, -1.5, 0.0]))


# total variation


def test_total_variation_is_the_loop():
    values = torch.randn(3, 4, 5, 2, dtype=torch.float64)
    total = 0.0
    for x in range(2):
        for y in range(3):
            for z in range(4):
                for c in range(2):
                    here = values[x, y, z, c]
                    ahead = values[x + 1, y, z, c], values[x, y + 1, z, c], values[x, y, z + 1, c]
                    total += math.sqrt(sum((v - here) ** 2 for v in ahead) + 1e-4)
    assert_close(baselines.total_variation(values).item(), total / (2 * 3 * 4 * 2))


def test_total_variation_of_a_slope_and_of_nothing():
    slope = 3.0 * torch.arange(5.0)[None, None, :, None].expand(4, 4, 5, 1)
    assert_close(baselines.total_variation(slope, floor=0.0).item(), 3.0)
    flat = torch.ones(3, 3, 3, 1, requires_grad=True)
    value = baselines.total_variation(flat)
    assert value.item() == pytest.approx(0.01)
    value.backward()
    assert_close(flat.grad, torch.zeros_like(flat))
