"""benchmarks.defaults: its fits end where the closed form says, and its operators are what they claim."""

import dataclasses

import pytest
import torch
from torch.testing import assert_close

from benchmarks.defaults import fit, fits, settings, total_variation
from benchmarks.inverse_problems import Problem, blur
from scorereg import GaussianFieldPrior

PRIOR = GaussianFieldPrior(size=8, channels=("r", "g", "b"), std=0.3)
NOISE = 0.1


def denoising():
    """A patch of the field with noise, whose most probable original is the Wiener filter's."""
    generator = torch.Generator().manual_seed(0)
    truth = PRIOR.sample(1, generator=generator)
    seen = truth + 2 * NOISE * torch.randn(truth.shape, generator=generator)
    power = PRIOR.power + 0.2**2
    exact = torch.fft.ifft2(power / (power + (2 * NOISE) ** 2) * torch.fft.fft2(seen)).real.float()

    def data(x, _):
        return (x - seen).square().sum() / (2 * (2 * NOISE) ** 2)

    return Problem(PRIOR, exact.clamp(-1, 1), (seen,), lambda x: 1 * x, data, 0.03)


def test_the_default_ends_at_the_most_probable_patch_and_the_data_alone_at_the_data():
    problem = denoising()
    assert fit(problem, {}, 200) > 45  # dB to the exact answer
    assert fit(problem, None, 50) == pytest.approx(problem.psnr(problem.start[0]), abs=1e-3)
    assert fit(problem, {}, 200) > fit(problem, 1.5, 200) + 3, "total variation is another prior"


def test_the_prior_gets_what_is_seen_where_that_is_not_what_is_scored():
    problem = dataclasses.replace(denoising(), seen=lambda generator, x: 0 * x)
    assert fit(problem, {}, 20) == pytest.approx(fit(problem, None, 20), abs=1e-6)


def test_every_setting_runs():
    problem = denoising()
    for title, given in settings(4).items():
        assert fits(title, problem) == ("depth" not in title)
        if fits(title, problem):
            assert fit(problem, given, 4) > 10


def test_total_variation_is_the_sum_of_steps():
    x = torch.zeros(1, 1, 4, 4)
    x[..., 2:] = 3.0
    assert_close(total_variation(x), torch.tensor(4 * 3.0 + 20 * 0.002), rtol=1e-4, atol=1e-3)


def test_a_blur_keeps_what_is_flat_and_has_its_width():
    flat = torch.full((1, 3, 24, 24), 0.3)
    assert_close(blur(flat), flat)
    point = torch.zeros(1, 1, 25, 25)
    point[..., 12, 12] = 1.0
    spread = blur(point)[0, 0]
    squares = (torch.arange(25.0) - 12).square()
    assert_close((spread.sum(0) * squares).sum(), torch.tensor(1.2**2), rtol=1e-2, atol=0)
