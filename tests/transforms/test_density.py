import math

import pytest
import torch
from torch.testing import assert_close

from scorereg import Density


def test_formula_and_back():
    density = torch.tensor([0.0, 0.5, 4.0, 60.0], dtype=torch.float64)
    x = Density(0.1)(density)
    assert_close(x, torch.tensor([2 * (1 - math.exp(-0.1 * d)) - 1 for d in (0, 0.5, 4, 60)], dtype=torch.float64))
    assert_close(Density(0.1).inverse(x), density)


def test_solid_comes_back_finite():
    back = Density(0.05).inverse(torch.tensor([-1.5, -1.0, 1.0, 1.2]))
    assert_close(back[:2], torch.zeros(2))
    assert_close(back[2:], torch.full((2,), -math.log(1e-4) / 0.05), rtol=1e-3, atol=0)


def test_gradient_is_the_formulas_own_up_to_deep():
    density = torch.linspace(0.1, 29, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(Density(0.1), density)


def test_what_is_solid_can_still_be_deleted_and_what_is_empty_filled():
    density = torch.tensor([0.0, 30.0, 1e4], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(Density(0.1)(density).sum(), density)
    assert_close(slope, 0.1 * 2 * torch.tensor([1.0, math.exp(-3), math.exp(-3)], dtype=torch.float64))


def test_json_and_back():
    transform = Density(0.04, deep=2)
    assert Density.from_json(transform.to_json()) == transform
    assert Density.from_json(transform.to_json(), voxel=0.1) == Density(0.1, 2)
    with pytest.raises(ValueError, match="kind 'density'"):
        Density.from_json({"kind": "ray weights"})


@pytest.mark.usefixtures("as_user")
def test_mistakes_are_named():
    with pytest.raises(ValueError, match="voxel > 0"):
        Density(0)
    with pytest.raises(ValueError, match="smallest given is -1"):
        Density(1)(torch.tensor([-1.0]))


def test_repr_is_one_line():
    assert repr(Density(0.1)) == "Density(voxel=0.1, deep=3.0)"
