"""The sampler against the Gaussian's exact flow, its order, and the picture of what it draws."""

import itertools

import pytest
import torch
from torch.testing import assert_close

from scorereg import GaussianFieldPrior, PriorCard
from scorereg.evaluation.pictures import patch_grid, save_grid
from scorereg.priors.sampling import heun, noise_levels, sample

FIELD = GaussianFieldPrior(size=8, channels=("a",))


def exact_flow(x, prior, high, low):
    """The probability flow of a Gaussian scales each frequency by the ratio of standard deviations at both ends."""
    scale = ((prior.power + low**2) / (prior.power + high**2)).sqrt()
    return torch.fft.ifft2(scale * torch.fft.fft2(x)).real


def with_card(prior, low, high):
    prior.card = PriorCard(name="g", channels=prior.channels, size=(8, 8), sigma_min=low, sigma_max=high)
    return prior


def test_noise_levels():
    levels = noise_levels(0.01, 5.0, 12)
    assert len(levels) == 13
    assert_close(levels[[0, -2, -1]], torch.tensor([5.0, 0.01, 0.0], dtype=torch.float64))
    assert (levels.diff() < 0).all()
    root = levels[:-1] ** (1 / 7)
    assert_close(root.diff(), root.diff().mean().expand(11))


def test_thirty_steps_follow_the_exact_flow():
    """Per frequency: what comes out over what went in, against the closed form."""
    x = 40 * torch.randn(4, 1, 8, 8, dtype=torch.float64)
    out = heun(FIELD, x, noise_levels(0.002, 40.0, 30))
    measured = (torch.fft.fft2(out) / torch.fft.fft2(x)).real
    exact = (FIELD.power / (FIELD.power + 40.0**2)).sqrt().expand_as(measured)
    assert_close(measured, exact, rtol=0.025, atol=0.0)


def test_it_is_of_second_order():
    """Twice the steps, a quarter of the error."""
    x = 10 * torch.randn(4, 1, 8, 8, dtype=torch.float64)
    exact = exact_flow(x, FIELD, 10.0, 0.05)
    errors = [
        (heun(FIELD, x, noise_levels(0.05, 10.0, n)[:-1]) - exact).square().mean().sqrt() for n in (40, 80, 160, 320)
    ]
    for coarse, fine in itertools.pairwise(errors):
        assert 3.6 < coarse / fine < 4.4


@pytest.mark.usefixtures("as_user")
def test_it_draws_from_the_prior():
    """A Gaussian field, sampled through its denoiser, has the field's spectrum."""
    prior = with_card(GaussianFieldPrior(8, ("a",)), 0.005, 40.0)
    x = sample(prior, 3000, steps=30)
    spectrum = torch.fft.fft2(x.double(), norm="ortho").abs().square().mean((0, 1))
    assert_close(spectrum, prior.power, rtol=0.15, atol=1e-4)


def test_a_seed_repeats_and_shape_and_range_can_be_given():
    prior = with_card(GaussianFieldPrior(8, ("a",)), 0.01, 10.0)
    one, two = (sample(prior, 2, steps=4, seed=seed) for seed in (1, 2))
    assert torch.equal(one, sample(prior, 2, steps=4, seed=1))
    assert not torch.equal(one, two)
    bare = sample(FIELD, 2, steps=4, seed=1, size=(8, 8), sigmas=(0.01, 10.0))
    assert torch.equal(one, bare)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"count": 0}, "at least 1 patch and 1 step, but got 0 patches and 30 steps"),
        ({"count": 1, "steps": 0}, "1 patches and 0 steps"),
        ({"count": 1}, r"a GaussianFieldPrior has no card with the size of its patches. Give size"),
        ({"count": 1, "size": (8, 8)}, r"but has 0 and 0. Give sigmas"),
        ({"count": 1, "size": (8, 8), "sigmas": (1.0, 0.1)}, "0 < smallest < largest, but has 1 and 0.1"),
    ],
)
def test_mistakes_are_named(wrong, says):
    with pytest.raises(ValueError, match=says):
        sample(FIELD, **wrong)


def test_grid_shows_color_beside_disparity():
    x = torch.full((8, 4, 6, 6), -1.0)
    x[:, 0] = 1.0
    x[:, 3] = 0.0
    picture = patch_grid(x, ("r", "g", "b", "disparity"), zoom=1)
    assert picture.shape == (4 * 8, 2 * 14, 3)
    assert picture[3, 3].tolist() == [255, 0, 0]
    assert picture[3, 9].tolist() == [128, 128, 128]
    assert patch_grid(x[:3, 3:], ("disparity",), zoom=2).shape[2] == 3


@pytest.mark.parametrize("space", [(12,), (4, 12), (5, 4, 12)], ids=str)
def test_grid_of_lines_and_volumes(space):
    x = torch.zeros(1, 2, *space)
    x[0, 0, ..., 0], x[0, 1, ..., 0] = 0.5, -0.5
    picture = patch_grid(x, ("a", "b"), span=(-0.5, 0.5), zoom=1)
    height = 8 if len(space) == 1 else 4
    assert picture.shape == (height + 2, 26, 3)
    assert picture[1, [1, 2, 13, 14], 0].tolist() == [255, 128, 0, 128]


def test_the_file_is_whole_or_not_there(tmp_path):
    from PIL import Image

    x = torch.zeros(1, 1, 4, 4)
    save_grid(tmp_path / "x.png", x, ("a",))
    with Image.open(tmp_path / "x.png") as image:
        assert image.size == (18, 18)
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        save_grid(tmp_path / "folder", x, ("a",))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "x.png"]
