"""NeRF's network: its encoding, its layers, what its output depends on, and that it learns a ball."""

import math

import pytest
import torch
from torch.testing import assert_close

from scorereg.rendering.field import contract
from scorereg.rendering.mlp import MLP, positional_encoding

CENTER = torch.tensor([1.0, -2.0, 3.0])


def small(**changes):
    return MLP(CENTER, 2.0, **{"layers": 4, "width": 16, "position_frequencies": 3, **changes})


def some(count):
    return CENTER + 3 * torch.randn(count, 3), torch.randn(count, 3)


def test_encoding_is_the_papers():
    """Eq. 4, one number at a time, in the order: sines by coordinate and octave, then cosines."""
    x = torch.rand(5, 2, dtype=torch.float64) * 2 - 1
    for row, code in zip(x.tolist(), positional_encoding(x, 3).tolist(), strict=True):
        angles = [2**k * math.pi * p for p in row for k in range(3)]
        assert code == pytest.approx([math.sin(a) for a in angles] + [math.cos(a) for a in angles], abs=1e-12)
    assert positional_encoding(x, 0).shape == (5, 0)


def test_the_default_is_the_papers_network():
    """Figure 7: eight layers of 256, the sixth of which sees the position again; 128 units before the color."""
    field = MLP(CENTER, 2.0)
    assert [tuple(layer.weight.shape) for layer in field.trunk] == [
        (256, 60), *[(256, 256)] * 4, (256, 316), *[(256, 256)] * 2,
    ]  # fmt: skip
    assert tuple(field.color[0].weight.shape) == (128, 256 + 24)
    assert [layer.in_features for layer in small(skip=2).trunk] == [18, 16, 16 + 18, 16]


def test_one_point_by_hand():
    field, (point, direction) = small(), some(1)
    code = positional_encoding(2 * contract(point, CENTER, torch.tensor(2.0)) - 1, 3)
    hidden = code
    for i, layer in enumerate(field.trunk):
        inputs = torch.cat([hidden, code], -1) if i == 3 else hidden
        hidden = torch.relu(inputs @ layer.weight.T + layer.bias)
    density, rgb = field(point, direction)
    assert_close(density, torch.exp(field.density(hidden)[:, 0] - 1))
    view = positional_encoding(direction / direction.norm(), 4)
    assert_close(rgb, field.color(torch.cat([field.feature(hidden), view], -1)))


def test_pieces_are_put_together_in_order():
    field, where = small(), some(9000)
    few = [torch.cat(parts) for parts in zip(*(field(*(x[i::3] for x in where)) for i in range(3)), strict=True)]
    order = torch.cat([torch.arange(9000)[i::3] for i in range(3)])
    for whole, part in zip(field(*where), few, strict=True):
        assert_close(whole[order], part)


def test_color_depends_on_the_direction_and_density_does_not():
    points, directions = some(20)
    for frequencies in (0, 4):
        field = small(direction_frequencies=frequencies)
        (density, rgb), (other_density, other_rgb) = field(points, directions), field(points, -directions)
        assert_close(other_density, density, rtol=0, atol=0)
        assert torch.equal(other_rgb, rgb) == (frequencies == 0)
        assert_close(field(points, 7 * directions)[1], rgb)  # the length of a direction does not matter


def test_gradients_reach_every_parameter_and_the_points():
    field, (points, directions) = small(), some(100)
    points.requires_grad_()
    density, rgb = field(points, directions)
    (density.sum() + rgb.square().sum()).backward()
    for name, parameter in field.named_parameters():
        assert parameter.grad.abs().sum() > 0, name
    assert points.grad.abs().sum() > 0
    (group,) = field.param_groups(1e-1, 1e-3)
    assert group["lr"] == 1e-3
    assert {id(p) for p in group["params"]} == {id(p) for p in field.parameters()}


def test_it_learns_a_ball():
    """Density 5 within half a metre, red on one side and blue on the other."""
    field = small(width=32)
    points = CENTER + 2 * torch.rand(1000, 3) - 1
    directions, offset = torch.randn(1000, 3), points - CENTER
    density = torch.where(offset.norm(dim=1) < 0.5, 5.0, 0.0)
    color = torch.where(offset[:, :1] > 0, torch.tensor([0.9, 0.1, 0.1]), torch.tensor([0.1, 0.1, 0.9]))

    def error():
        shown, rgb = field(points, directions)
        return (shown - density).square().mean(), (rgb - color).square().mean()

    start = [e.item() for e in error()]
    optimizer = torch.optim.Adam(field.parameters(), lr=5e-3)
    for _ in range(150):
        optimizer.zero_grad()
        sum(error()).backward()
        optimizer.step()
    for before, after in zip(start, error(), strict=True):
        assert after.item() < 0.3 * before


@pytest.mark.parametrize("change", [{"layers": 0}, {"width": 0}, {"direction_frequencies": -1}])
def test_mistakes_are_named(change):
    with pytest.raises(ValueError, match="MLP needs layers and width of at least 1 and numbers of frequencies"):
        small(**change)
