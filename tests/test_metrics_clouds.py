"""Chamfer L1 on shapes with known distances."""

import math

import pytest
import torch

from scorereg.metrics import Ball, ObservedVolume, chamfer


def plane(z, side=12, step=0.1):
    axis = step * torch.arange(side)
    x, y = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x, y, torch.full_like(x, z)], -1).reshape(-1, 3)


def sphere(radius, count=4000):
    """Fibonacci's points, evenly on a sphere."""
    i = torch.arange(count, dtype=torch.float64) + 0.5
    z, angle = 1 - 2 * i / count, math.pi * (1 + 5**0.5) * i
    ring = (1 - z**2).sqrt()
    return radius * torch.stack([ring * angle.cos(), ring * angle.sin(), z], -1)


def test_parallel_planes_are_as_far_apart_as_they_are():
    found = chamfer(plane(0.0), plane(0.25))
    assert found.accuracy == found.completeness == found.mean == pytest.approx(0.25)
    assert (found.accuracy_share, found.completeness_share) == (1, 1)


def test_concentric_spheres():
    """The same points at another radius: each has its own as the nearest from within, and nearly so from without."""
    found = chamfer(sphere(1.0), sphere(1.1))
    assert found.accuracy == pytest.approx(0.1, abs=1e-9)
    assert found.completeness == pytest.approx(0.1, abs=1e-9)


def test_the_halves_are_those_they_are_called():
    """Half of a plane is accurate and not complete: the other half's columns are 1, 2, ... 6 steps away."""
    whole = plane(0.0)
    half = whole[whole[:, 0] < 0.55]
    found = chamfer(half, whole)
    assert found.accuracy == 0
    assert found.completeness == pytest.approx(0.1 * sum(range(1, 7)) / 12, rel=1e-5)
    assert found.mean == pytest.approx(found.completeness / 2)
    swapped = chamfer(whole, half)
    assert (swapped.accuracy, swapped.completeness) == (found.completeness, found.accuracy)


def test_what_is_judged_may_be_a_part_of_space():
    stray = torch.cat([plane(0.1), torch.tensor([[50.0, 0, 0]])])
    assert chamfer(stray, plane(0.0)).accuracy > 0.1
    ball = Ball((0.5, 0.5, 0.0), 2.0)
    assert chamfer(stray, plane(0.0), within=ball).accuracy == pytest.approx(0.1)
    far = torch.cat([plane(0.0), torch.tensor([[0.0, 50, 0]])])
    assert chamfer(plane(0.1), far, reference_within=ball).completeness == pytest.approx(0.1)
    # points that are not judged still cover the reference
    assert chamfer(plane(0.1), plane(0.0), within=Ball((0.0, 0.0, 0.1), 0.01)).completeness == pytest.approx(0.1)


def test_what_is_far_is_left_out_and_told():
    stray = torch.cat([plane(0.1), torch.full((16, 3), 9.0)])
    found = chamfer(stray, plane(0.0), max_distance=0.5)
    assert found.accuracy == pytest.approx(0.1)
    assert found.accuracy_share == pytest.approx(144 / 160)
    assert found.completeness_share == 1


def test_an_observed_volume_is_a_grid_of_cells_around_points():
    cells = torch.zeros(3, 4, 5, dtype=torch.bool)
    cells[2, 1, 3] = True
    volume = ObservedVolume(cells, (10.0, 20.0, 30.0), 2.0)
    inside = torch.tensor([[14.0, 22.0, 36.0], [14.9, 21.1, 36.9]])
    outside = torch.tensor([[15.1, 22.0, 36.0], [12.0, 22.0, 36.0], [-1e9, 0, 0], [1e9, 22, 36]])
    assert volume(inside).tolist() == [True, True]
    assert volume(outside).tolist() == [False] * 4


@pytest.mark.usefixtures("as_user")
def test_clouds_that_cannot_be_compared_are_named():
    with pytest.raises(ValueError, match="`points` is empty"):
        chamfer(torch.zeros(0, 3), plane(0.0))
    with pytest.raises(ValueError, match="`reference` holds numbers that are not finite"):
        chamfer(plane(0.0), torch.full((2, 3), math.nan))
    with pytest.raises(ValueError, match="none of the 144 points lies in what `within` takes"):
        chamfer(plane(0.0), plane(0.0), within=Ball((9.0, 9, 9), 0.1))
    with pytest.raises(ValueError, match=r"all 144 of `points` are more than max_distance=1 .* in one unit"):
        chamfer(plane(0.0), plane(7.0), max_distance=1.0)
    with pytest.raises(ValueError, match="max_distance > 0"):
        chamfer(plane(0.0), plane(0.0), max_distance=math.nan)
