import math
import sys
import types
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from scorereg.ops import GridShape
from scorereg.rendering.field import Field, contract, spherical_harmonics
from scorereg.rendering.hash_grid import DensityGrid, HashGrid
from scorereg.rendering.mlp import MLP

SMALL = GridShape(levels=4, features=2, log2_slots=13, base=4, finest=16)  # dense: nothing to compile
CENTER = torch.tensor([1.0, -2.0, 3.0])


def small_field(**changes):
    return HashGrid(CENTER, 2.0, **{"shape": SMALL, "hidden": 16, "backend": "eager", **changes})


def some(count):
    return CENTER + 3 * torch.randn(count, 3), torch.randn(count, 3)


# contract


def test_contraction_is_linear_inside():
    inside = CENTER + 2.0 * (2 * torch.rand(100, 3) - 1)
    expected = 0.5 + (inside - CENTER) / 8
    assert_close(contract(inside, CENTER, torch.tensor(2.0)), expected)


def test_contraction_is_the_papers_outside():
    """(2 - 1 / |x|) x / |x| of mip-NeRF 360, along one axis, moved from [-2, 2] to [0, 1]."""
    x = torch.tensor([[3.0, 0, 0], [0, -5, 0], [1, 2, -10]])
    expected = torch.tensor([[2 - 1 / 3, 0, 0], [0, -2 + 1 / 5, 0], [1, 2 - 1 / 2, -2 + 1 / 10]]) / 4 + 0.5
    assert_close(contract(x, torch.zeros(3), torch.tensor(1.0)), expected)


def test_far_points_lie_on_the_cubes_faces():
    x = torch.tensor([[1e9, 0, 0], [0, -1e9, 1e9], [1e30, 1e30, -1e30]])
    expected = torch.tensor([[1, 0.5, 0.5], [0.5, 0, 1], [1, 1, 0]])
    assert_close(contract(x, torch.zeros(3), torch.tensor(1.0)), expected)


@settings(deadline=None, max_examples=100)
@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(0.1, 100))
def test_contraction_is_monotone_and_stays_inside(a, b, radius):
    low, high = sorted((a, b))
    points = torch.tensor([[low, 0, high], [high, 0, low]], dtype=torch.float64)
    x = contract(points, torch.zeros(3, dtype=torch.float64), torch.tensor(radius, dtype=torch.float64))
    assert x[0, 0] <= x[1, 0]
    assert x.min() >= 0
    assert x.max() <= 1


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_contraction_and_its_slope_are_continuous_at_the_border(side):
    x = (side * torch.tensor([1 - 1e-6, 1.0, 1 + 1e-6], dtype=torch.float64)[:, None].expand(3, 3)).requires_grad_()
    y = contract(x, torch.zeros(3, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64))
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert_close(y.detach().diff(dim=0).abs(), torch.full((2, 3), 0.25e-6, dtype=torch.float64), rtol=1e-4, atol=0)
    assert_close(slope[[0, 2]], torch.full((2, 3), 0.25, dtype=torch.float64), rtol=1e-5, atol=0)


# spherical harmonics


def sphere():
    """Directions and weights whose sums are exact integrals over the sphere for polynomials of degree 4."""
    z, weight = (torch.from_numpy(x) for x in np.polynomial.legendre.leggauss(6))
    angle = 2 * math.pi * torch.arange(12).double() / 12
    ring = (1 - z.square()).sqrt()[:, None]
    x, y = ring * angle.cos(), ring * angle.sin()
    return torch.stack([x, y, z[:, None].expand_as(x)], -1).reshape(-1, 3), weight.repeat_interleave(12) / 24


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_spherical_harmonics_are_orthogonal(degree):
    directions, weight = sphere()
    y = spherical_harmonics(directions, degree)
    assert y.shape[1] == (degree + 1) ** 2
    gram = torch.einsum("n,ni,nj->ij", weight, y, y)
    assert_close(gram, gram.diagonal().diag(), rtol=0, atol=1e-12)
    assert gram.diagonal().min() > 0.05
    assert_close(gram[0, 0], gram.new_tensor(1.0))


def test_spherical_harmonics_do_not_depend_on_length():
    directions = torch.randn(20, 3)
    assert_close(spherical_harmonics(7 * directions, 2), spherical_harmonics(directions, 2))


def test_spherical_harmonics_of_known_directions():
    y = spherical_harmonics(torch.tensor([[0.0, 0, 2], [3, 0, 0], [0, 0, -1]]), 2)
    assert_close(y[0], torch.tensor([1.0, 0, 1, 0, 0, 0, 1, 0, 0]))
    assert_close(y[1], torch.tensor([1.0, 0, 0, 1, 0, 0, -0.5, 0, 0.5]))
    odd = torch.tensor([1.0, -1, -1, -1, 1, 1, 1, 1, 1])
    assert_close(y[2], odd * y[0])


# HashGrid


FIELDS = {f"hash grid, degree {degree}": partial(small_field, view_degree=degree) for degree in (0, 1, 2)}
FIELDS |= {f"mlp, {layers} layers": partial(MLP, CENTER, 2.0, layers=layers, width=16) for layers in (1, 2, 5)}


@pytest.mark.parametrize("count", [0, 1, 37, 9000])  # 9000 are more than a CPU computes at once
@pytest.mark.parametrize("make", FIELDS.values(), ids=FIELDS)
def test_field_gives_density_and_color(count, make):
    field = make()
    with torch.no_grad():
        for parameter in field.parameters():  # far from where it starts
            parameter.normal_(0, 1)
    density, rgb = field(*some(count))
    assert isinstance(field, Field)
    assert (density.shape, rgb.shape) == ((count,), (count, 3))
    assert (density >= 0).all()
    assert ((rgb >= 0) & (rgb <= 1)).all()


def test_density_stays_finite_whatever_the_network_says():
    field = small_field()
    with torch.no_grad():
        field.geometry[-1].bias.fill_(1e6)
    density, _ = field(*some(5))
    assert torch.isfinite(density).all()
    with torch.no_grad():
        field.geometry[-1].bias.fill_(-1e6)
    assert_close(field(*some(5))[0].detach(), torch.zeros(5))


def test_space_is_nearly_clear_at_first():
    density, _ = small_field()(*some(100))
    assert density.max() < 1.0  # per metre


def test_color_depends_on_the_direction_and_density_does_not():
    points, directions = some(20)
    for degree in (0, 1, 2):
        field = small_field(view_degree=degree)
        density, rgb = field(points, directions)
        other_density, other_rgb = field(points, -directions)
        assert_close(other_density, density, rtol=0, atol=0)
        assert torch.equal(other_rgb, rgb) == (degree == 0)


@pytest.mark.parametrize("make", FIELDS.values(), ids=FIELDS)
def test_seed_gives_the_parameters_and_leaves_the_callers_numbers_alone(make):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    first, second, other = make(seed=5), make(seed=5), make(seed=6)
    assert_close(torch.rand(4), expected, rtol=0, atol=0)
    for (name, a), b, c in zip(first.named_parameters(), second.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b), name
        assert not torch.equal(a, c), name


def test_a_loaded_state_is_the_same_field():
    first, second = small_field(seed=1), HashGrid(torch.zeros(3), 1.0, shape=SMALL, hidden=16, backend="eager", seed=2)
    second.load_state_dict(first.state_dict())
    where = some(10)
    for a, b in zip(first(*where), second(*where), strict=True):
        assert_close(a, b, rtol=0, atol=0)


def test_every_parameter_gets_a_gradient():
    field = small_field()
    density, rgb = field(*some(500))
    (density.sum() + rgb.square().sum()).backward()
    for name, parameter in field.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_optimizers_get_the_table_at_one_rate_and_the_networks_at_another():
    field = small_field()
    table, networks = field.param_groups(0.1, 0.01)
    assert (table["lr"], networks["lr"]) == (0.1, 0.01)
    assert [id(p) for p in table["params"]] == [id(field.encoder.table)]
    names = {id(p): name for name, p in field.named_parameters()}
    assert {names[id(p)].split(".")[0] for p in networks["params"]} == {"geometry", "color"}
    assert len(table["params"]) + len(networks["params"]) == len(names)


@pytest.mark.parametrize(
    ("share", "weights"), [(0.0, [1.0, 1, 0, 0]), (0.25, [1, 1, 0.5, 0]), (0.75, [1, 1, 1, 0.5]), (1.0, [1.0, 1, 1, 1])]
)
def test_levels_are_let_in_one_after_the_other(share, weights):
    field = small_field()
    field.set_active_levels(share)
    assert_close(field.level_weights, torch.tensor(weights))


def test_falloff_weighs_fine_levels_down():
    field = small_field(finest_level_scale=0.125)
    assert_close(field.level_weights, torch.tensor([1.0, 0.5, 0.25, 0.125]))
    field.set_active_levels(0.25)
    assert_close(field.level_weights, torch.tensor([1.0, 0.5, 0.125, 0.0]))
    assert_close(small_field(shape=GridShape(1, 2, 12, 4, 8), finest_level_scale=0.1).level_weights, torch.ones(1))


def test_levels_that_are_held_back_do_not_matter_and_do_not_learn():
    field, where = small_field(), some(50)
    field.set_active_levels(0.0)
    fine = sum(SMALL.rows[:2])
    before = field(*where)[0]
    before.sum().backward()
    assert field.encoder.table.grad is not None
    assert field.encoder.table.grad[fine:].eq(0).all()
    assert field.encoder.table.grad[:fine].ne(0).any()
    with torch.no_grad():
        field.encoder.table[fine:] += 1
    assert_close(field(*where)[0], before, rtol=0, atol=0)
    field.set_active_levels(1.0)
    assert not torch.equal(field(*where)[0], before)


@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_two_levels_are_always_shown(levels, share):
    field = small_field(shape=GridShape(levels, 2, 12, 4, 8))
    field.set_active_levels(share)
    assert_close(field.level_weights, torch.ones(levels))


def test_view_degree_is_checked():
    with pytest.raises(ValueError, match=r"degree 0, 1 and 2, got view_degree=3"):
        small_field(view_degree=3)


# tiny-cuda-nn


class FakeEncoding(nn.Module):
    """Takes what tiny-cuda-nn's takes, and returns half precision as it does."""

    def __init__(self, inputs, config):
        super().__init__()
        self.inputs, self.config = inputs, config
        self.params = nn.Parameter(torch.rand(config["n_levels"] * config["n_features_per_level"]))

    def forward(self, x):
        return (x.mean(1, keepdim=True) * self.params).half()


def test_tinycudann_gets_the_shapes_numbers(monkeypatch):
    module = types.ModuleType("tinycudann")
    module.Encoding = FakeEncoding  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tinycudann", module)
    field = HashGrid(CENTER, 2.0, shape=GridShape(5, 4, 11, 8, 128), hidden=16, backend="tinycudann")
    encoding = field.encoder.encoding
    assert encoding.inputs == 3
    expected = {
        "otype": "HashGrid",
        "n_levels": 5,
        "n_features_per_level": 4,
        "log2_hashmap_size": 11,
        "interpolation": "Linear",
    }
    assert encoding.config == {**expected, "base_resolution": 8, "per_level_scale": pytest.approx(2.0)}
    density, rgb = field(*some(7))
    assert density.dtype == rgb.dtype == torch.float32
    assert (density.shape, rgb.shape) == ((7,), (7, 3))


def test_tinycudann_that_is_absent_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tinycudann", None)
    says = r"backend='tinycudann' needs tiny-cuda-nn's torch bindings and CUDA.*Install it, or use backend='auto'"
    with pytest.raises(RuntimeError, match=says):
        small_field(backend="tinycudann")


# DensityGrid


@pytest.mark.parametrize("backend", ["auto", "compiled"])
def test_the_first_points_are_encoded_without_compiling_if_asked(backend, monkeypatch):
    used = []

    def encode(x, table, shape, backend):
        used.append(backend)
        return torch.zeros(len(x), shape.levels * shape.features)

    monkeypatch.setattr("scorereg.rendering.hash_grid.hash_encode", encode)
    field = small_field(backend=backend)
    field(*some(10))
    field.delay_compiling(15)
    field(*some(10))  # a gradient is computed
    with torch.no_grad():
        for _ in range(3):
            field(*some(10))
        field.delay_compiling(1)
        field.delay_compiling(0)
        field(*some(10))
    early = "eager" if backend == "auto" else backend
    assert used == [backend, backend, early, early, backend, backend]


def test_density_grid_is_even_at_first_and_not_negative():
    density = DensityGrid(CENTER, 2.0, size=8)(some(50)[0])
    assert_close(density, torch.full((50,), math.exp(-1)))


def test_density_grid_learns_a_target():
    """A ball of density 2 in empty space."""
    grid = DensityGrid(CENTER, 2.0, size=16)
    optimizer = torch.optim.Adam(grid.parameters(), lr=1e-2)
    points = CENTER + 2 * (2 * torch.rand(2000, 3) - 1)
    distance = (points - CENTER).norm(dim=1)
    target = torch.where(distance < 1, 2.0, 0.01)
    start = (grid(points) - target).square().mean().item()
    for _ in range(150):
        loss = (grid(points) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1 * start
    with torch.no_grad():
        inside, outside = grid(points[distance < 0.7]), grid(points[distance > 1.5])
    assert abs(inside.mean() - 2) < 0.1
    assert outside.mean() < 0.1


def test_density_grid_has_no_edge():
    """Beyond the last vertex the last value goes on, and far points are inside the cube's faces."""
    grid = DensityGrid(torch.zeros(3), 1.0, size=4)
    with torch.no_grad():
        grid.grid[..., -1] = 0.2  # the face at large x
    far = torch.tensor([[1e9, 0.0, 0.0], [1e12, 5.0, -3.0]])
    assert_close(grid(far).detach(), torch.full((2,), math.exp(10 * 0.2 - 1)))
