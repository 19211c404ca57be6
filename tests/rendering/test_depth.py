"""The depth whose gradient stays at the surface: value, gradient in closed form, and what it is for."""

import pytest
import torch
from torch.testing import assert_close

from scorereg import surface_depth
from scorereg.ops import composite


def rays(count=5, n=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(count, n, generator=generator, dtype=torch.float64) / n
    return weights.requires_grad_(), 0.3 + torch.rand(count, n, generator=generator, dtype=torch.float64).cumsum(-1)


def expected(weights, depths):
    return (weights * depths).sum(-1) / weights.sum(-1)


def test_the_value_is_the_expected_depth_or_the_one_given():
    weights, depths = rays()
    assert_close(surface_depth(weights, depths), expected(weights, depths))
    given = torch.arange(1.0, 6, dtype=torch.float64)
    assert_close(surface_depth(weights, depths, given), given)


@pytest.mark.parametrize("band", [0.05, 0.5])
def test_the_gradient_to_weights_has_no_lever_longer_than_the_band(band):
    weights, depths = rays()
    surface_depth(weights, depths, band=band).sum().backward()
    with torch.no_grad():
        middle, total = expected(weights, depths)[:, None], weights.sum(-1, keepdim=True)
        held = depths.clamp((1 - band) * middle, (1 + band) * middle)
        exact = (held - expected(weights, held)[:, None]) / total
    assert_close(weights.grad, exact)
    assert (weights.grad.abs() <= 2 * band * middle / total).all()


def test_within_the_band_it_is_the_expected_depth_with_its_gradient():
    weights, _ = rays()
    depths = (2 + torch.linspace(-0.1, 0.1, 9, dtype=torch.float64)).expand(5, 9).clone().requires_grad_()
    ours = torch.autograd.grad(surface_depth(weights, depths).sum(), (weights, depths))
    plain = torch.autograd.grad(expected(weights, depths).sum(), (weights, depths))
    assert_close(ours, plain)


def test_a_ray_without_weight_has_no_gradient():
    weights = torch.zeros(2, 4, requires_grad=True)
    surface_depth(weights, torch.linspace(1, 2, 4).expand(2, 4), torch.full((2,), 9.0)).sum().backward()
    assert weights.grad.isfinite().all()
    assert not weights.grad.any()


def test_a_pull_towards_the_camera_moves_the_wall_and_grows_little_fog_right_before_it():
    """Density before a wall at 2 m that is asked to come nearer: how much of it grows where."""
    depths = torch.tensor([[0.2, 0.6, 1.0, 1.4, 1.9, 2.0]])
    s = torch.linspace(0, 1, 7)[None]
    tau = torch.tensor([[0.01, 0.01, 0.01, 0.01, 0.01, 9.0]], requires_grad=True)
    shown = composite(tau, torch.zeros(1, 6, 3), depths, s[:, :-1], s[:, 1:])
    plain = shown.depth / shown.opacity
    ours = surface_depth(shown.weights, depths, plain)
    (expected,) = torch.autograd.grad(-plain.sum(), tau, retain_graph=True)
    (moved,) = torch.autograd.grad(-ours.sum(), tau)
    assert 10 < expected[0, 0] / expected[0, 4]  # a lever of 1.8 m against one of 0.1 m
    assert 1 < moved[0, 0] / moved[0, 4] < 3


@pytest.mark.parametrize("band", [0.0, 1.0, -0.1])
def test_bad_bands(band):
    with pytest.raises(ValueError, match=r"in \(0, 1\)"):
        surface_depth(*rays(), band=band)
