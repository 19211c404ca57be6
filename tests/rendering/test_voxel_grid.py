"""The voxel grid against `grid_sample`, closed forms, and its own refinement."""

import pytest
import torch
from torch.testing import assert_close

from scorereg.rendering.field import Field, spherical_harmonics
from scorereg.rendering.voxel_grid import VoxelGrid, trilinear

LOW, HIGH = torch.tensor([-1.0, 0.0, 2.0]), torch.tensor([1.0, 1.5, 3.0])


def grid(**more) -> VoxelGrid:
    field = VoxelGrid(LOW, HIGH, vertices=300, coarser=2, **more)
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.normal_()
    return field


def inside(count: int, field: VoxelGrid) -> torch.Tensor:
    return field.low + torch.rand(count, 3) * field.size


# interpolation


def test_trilinear_is_grid_sample_gradient_included():
    values = torch.randn(4, 5, 3, 2, dtype=torch.float64, requires_grad=True)
    unit = torch.rand(40, 3, dtype=torch.float64) * 1.4 - 0.2  # some lie outside
    unit[:3] = torch.tensor([[0.0, 0, 0], [1, 1, 1], [1, 0.5, 0]])
    place = (2 * unit - 1).flip(-1)[None, :, None, None]  # grid_sample wants z, y, x of x y z
    expected = torch.nn.functional.grid_sample(
        values.permute(3, 0, 1, 2)[None], place, align_corners=True, padding_mode="border"
    )[0, :, :, 0, 0].T
    actual = trilinear(values, unit)
    assert_close(actual, expected)
    cotangent = torch.randn_like(expected)
    (slope,) = torch.autograd.grad(actual, values, cotangent)
    assert_close(slope, torch.autograd.grad(expected, values, cotangent)[0])


def test_a_grid_is_a_field_and_its_box_holds_what_was_asked_for():
    field = grid()
    assert isinstance(field, Field)
    assert_close(field.low, LOW)
    assert (field.low + field.size >= HIGH - 1e-6).all()
    edges = field.size / (torch.tensor(field.raw_density.shape[:3]) - 1)
    assert_close(edges, torch.full((3,), field.voxel))  # voxels are cubes
    assert 150 < field.raw_density.numel() < 1000


def test_density_is_the_exponential_and_ends_with_the_box():
    field = grid()
    corner = torch.stack([field.low, field.low + field.voxel * torch.tensor([1.0, 2.0, 0.0])])
    raw = torch.stack([field.raw_density[0, 0, 0, 0], field.raw_density[1, 2, 0, 0]]).detach()
    assert_close(field.density(corner), raw.exp(), rtol=1e-4, atol=1e-5)
    beyond = torch.stack([field.low - 1e-3, field.low + field.size + 1e-3, field.low + field.size / 2])
    assert_close(field.density(beyond)[:2], torch.zeros(2))
    assert field.density(beyond)[2] > 0


def test_colour_is_a_sum_of_harmonics():
    field = grid()
    points, directions = inside(7, field), torch.randn(7, 3)
    _, rgb = field(points, directions)
    unit = (points - field.low) / field.size
    terms = spherical_harmonics(directions, 2)
    view = trilinear(field.view, unit).reshape(7, 8, 3)
    expected = trilinear(field.color, unit)
    for k in range(8):
        expected = expected + terms[:, k + 1, None] * view[:, k]
    assert_close(rgb, expected.sigmoid())
    plain = grid(view_degree=0)
    assert_close(plain(points, directions)[1], plain(points, -directions)[1])
    _, other = field(points, -directions)
    assert not torch.allclose(rgb, other)


def test_refining_keeps_the_function():
    field = grid()
    points, directions = inside(200, field), torch.randn(200, 3)
    before, voxel, shape = field(points, directions), field.voxel, field.raw_density.shape
    field.refine()
    assert_close(field(points, directions), before, rtol=1e-4, atol=1e-5)
    assert field.voxel == pytest.approx(voxel / 2)
    assert [2 * n - 1 for n in shape[:3]] == list(field.raw_density.shape[:3])


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"high": LOW}, "high > low"),
        ({"vertices": 1}, "vertices >= 8"),
        ({"density": 0.0}, "density > 0"),
        ({"view_degree": 3}, "degree 0, 1 and 2, got 3"),
    ],
)
def test_mistakes_are_named(change, says):
    with pytest.raises(ValueError, match=says):
        VoxelGrid(**{"low": LOW, "high": HIGH, **change})


def test_optimizers_get_densities_colors_and_harmonics_at_rates_of_their_own():
    field = grid()
    groups = field.param_groups(0.15, 0.02)
    assert [(id(group["params"][0]), group["lr"]) for group in groups] == [
        (id(field.raw_density), 0.15), (id(field.color), pytest.approx(0.1)), (id(field.view), 0.02),
    ]  # fmt: skip
    assert sum(len(group["params"]) for group in groups) == len(list(field.parameters()))


def test_refinements_come_at_their_shares_of_a_fit_once():
    field = grid(refine_at=(0.2, 0.45))
    voxel = field.voxel
    assert [field.refine_to(progress) for progress in (0.0, 0.19, 0.2, 0.3, 0.45, 1.0)] == [
        False, False, True, False, True, False,
    ]  # fmt: skip
    assert field.voxel == pytest.approx(voxel / 4)
