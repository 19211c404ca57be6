"""The inverse problems of `examples/inverse_problems` and what they are compared with, on a Gaussian field."""

import pytest
import torch
from torch.testing import assert_close

from examples.inverse_problems.__main__ import draw
from examples.inverse_problems.baselines import total_variation, wiener
from examples.inverse_problems.operators import NAMES, blur, case
from examples.inverse_problems.photos import photo
from scorereg import GaussianFieldPrior, restore

FIELD = GaussianFieldPrior(size=24, channels=("r", "g", "b"), std=0.3)
TRUTH = (0.5 + FIELD.sample(1, generator=torch.Generator().manual_seed(0)) / 2).float()


@pytest.mark.parametrize("name", NAMES)
def test_every_problem_is_measured_and_restored(name):
    given = case(name, TRUTH)
    start = given.back if name == "phase retrieval" else None
    found = restore(
        given.measure, given.y, FIELD, noise=given.noise, data_range=(0, 1), size=(24, 24), start=start, show=False
    )
    before = torch.full_like(TRUTH, 0.5) if given.back is None else given.back
    assert (found.image - TRUTH).square().mean() < (before - TRUTH).square().mean()
    clean = given.measure(TRUTH)
    error = torch.view_as_real(given.y - clean) if clean.is_complex() else given.y - clean
    assert error.square().mean().sqrt().item() <= 1.1 * given.noise
    assert torch.equal(case(name, TRUTH).y, given.y)


def test_the_linear_filter_is_the_posterior_mean_under_its_spectrum():
    """On noise alone: the Wiener filter of the measured spectrum, within the spectrum's own error."""
    others = (0.5 + FIELD.sample(200, generator=torch.Generator().manual_seed(1)) / 2).float()
    given = case("denoise", TRUTH)
    exact = (FIELD.denoise(2 * given.y - 1, torch.tensor([2 * given.noise])) + 1) / 2
    assert (wiener(given, tuple(TRUTH.shape), others) - exact).abs().mean() < 0.01
    assert wiener(case("phase retrieval", TRUTH), tuple(TRUTH.shape), others) is None


def test_total_variation_removes_noise_and_keeps_an_edge():
    step = torch.zeros(1, 3, 16, 16)
    step[..., 8:] = 1
    given = case("denoise", step)
    found = total_variation(given, tuple(step.shape), 1.0, steps=300)
    assert (found - step).abs().mean() < 0.3 * (given.y - step).abs().mean()


def test_a_blur_keeps_the_mean_and_the_width_it_says():
    x = torch.zeros(1, 1, 33, 33)
    x[..., 16, 16] = 1
    y = blur(x, 1.5)[0, 0]
    at = torch.arange(33.0) - 16
    assert_close(y.sum(), torch.tensor(1.0), rtol=1e-4, atol=1e-4)
    assert_close((y.sum(0) * at**2).sum(), torch.tensor(1.5**2), rtol=0.02, atol=0)


def test_the_picture_has_a_white_cell_where_a_method_has_no_image(tmp_path):
    from PIL import Image

    black = torch.zeros(1, 3, 8, 8)
    draw([("denoise", {"truth": black, "linear": black}), ("phase retrieval", {"truth": black})], tmp_path / "p.png")
    with Image.open(tmp_path / "p.png") as drawn:
        assert drawn.size == (96 + 2 * (16 + 4), 22 + 2 * (16 + 4))
        cells = [[drawn.getpixel((96 + 20 * column + 8, 22 + 20 * row + 8)) for column in (0, 1)] for row in (0, 1)]
    assert cells == [[(0, 0, 0), (0, 0, 0)], [(0, 0, 0), (255, 255, 255)]]


def test_a_photo_that_is_none_is_named(tmp_path):
    for name in ("nosuch", "moon", "lfw_subset"):  # unknown, grey, many small ones
        with pytest.raises(ValueError, match=f"no colour photo '{name}'"):
            photo(name, tmp_path)
    with pytest.raises(FileNotFoundError, match="has no frames. Give --data"):
        photo("room-00000", tmp_path)
