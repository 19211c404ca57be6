"""The plain call: its level, its gradient against finite differences of a posterior's energy, and `noise`."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.testing import assert_close

from scorereg import GaussianFieldPrior, PriorCard, ScoreLoss, estimators, schedules
from scorereg.priors import wrap

PRIOR = GaussianFieldPrior(size=6, channels=("r", "disparity")).double()
SEEN = torch.randn(1, 2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
NOISE = 0.2
VALUES = SEEN.numel()


def gradient(function, x):
    x = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(function(x), x)
    return found


def by_differences(energy, x, step=1e-5):
    """Central differences, value by value."""
    slopes = torch.zeros_like(x)
    for i in range(x.numel()):
        bump = torch.zeros_like(x)
        bump.view(-1)[i] = step
        slopes.view(-1)[i] = (energy(x + bump) - energy(x - bump)) / (2 * step)
    return slopes


def minus_log_posterior(sigma):
    """Energy of a patch seen with noise, under the field noised to a level; by no part of ScoreLoss."""
    level = torch.tensor([sigma], dtype=torch.float64)
    return lambda x: (x - SEEN).square().sum() / (2 * NOISE**2) - PRIOR.log_density(x, level).sum()


@pytest.mark.parametrize(("settings", "sigma"), [({}, 0.2), ({"sigma": 0.4}, 0.4), ({"sigma": lambda step: 0.3}, 0.3)])
def test_beside_a_likelihood_it_is_the_gradient_of_the_posterior(settings, sigma):
    loss, x = ScoreLoss(PRIOR, **settings), torch.randn_like(SEEN)
    total = gradient(lambda x: (x - SEEN).square().sum() / (2 * NOISE**2) + loss(x, step=0), x)
    assert_close(total, by_differences(minus_log_posterior(sigma), x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sigma", [None, 0.4])
def test_with_noise_it_is_so_beside_a_mean_of_squares(sigma):
    loss, x = ScoreLoss(PRIOR, sigma=sigma, noise=NOISE), torch.randn_like(SEEN)
    total = gradient(lambda x: functional.mse_loss(x, SEEN) + loss(x), x)
    energy = minus_log_posterior(sigma or 0.2)
    assert_close(total, by_differences(lambda x: energy(x) * 2 * NOISE**2 / VALUES, x), rtol=1e-5, atol=1e-7)


def test_a_mean_over_several_patches_and_their_mean_of_squares_belong_together():
    """Two equal patches have each the gradient of one, divided by two, from both."""
    x, two = torch.randn_like(SEEN), SEEN.repeat(2, 1, 1, 1)
    loss = ScoreLoss(PRIOR, noise=NOISE)
    one = gradient(lambda x: functional.mse_loss(x, SEEN) + loss(x), x)
    both = gradient(lambda x: functional.mse_loss(x, two) + loss(x), x.repeat(2, 1, 1, 1))
    assert_close(both, one.repeat(2, 1, 1, 1) / 2)


def test_a_fit_with_a_mean_of_squares_ends_at_the_wiener_filter():
    loss, x = ScoreLoss(PRIOR, noise=NOISE), torch.zeros_like(SEEN)
    for _ in range(4000):
        x = x - 0.15 * VALUES * gradient(lambda x: functional.mse_loss(x, SEEN) + loss(x), x)
    power = PRIOR.power + 0.2**2
    exact = torch.fft.ifft2(power / (power + NOISE**2) * torch.fft.fft2(SEEN)).real
    assert_close(x, exact, rtol=0, atol=1e-4)


def test_noise_multiplies_the_other_settings():
    x, known = torch.randn(2, 2, 6, 6, dtype=torch.float64), torch.rand(2, 1, 6, 6) < 0.5
    settings = {"sigma": 0.3, "weight": torch.square, "channel_weights": {"disparity": 3.0}}
    plain = ScoreLoss(PRIOR, **settings).gradient(x, known=known)
    assert_close(ScoreLoss(PRIOR, noise=0.05, **settings).gradient(x, known=known), plain * 2 * 0.05**2 / VALUES)


def card_prior(**facts):
    card = PriorCard(
        **({"name": "a", "channels": ("a",), "size": (6, 6), "sigma_min": 0.001, "sigma_max": 99.0} | facts)
    )
    return wrap(lambda z, t: z / 2, prediction="denoised", channels=("a",), card=card)


@pytest.mark.parametrize(
    ("facts", "sigma"),
    [({}, 0.2), ({"range": (0.0, 255.0)}, 25.5), ({"sigma_max": 0.05}, 0.05), ({"sigma_min": 0.5}, 0.5)],
)
def test_the_level_without_one_is_a_fifth_of_half_the_range_and_one_that_the_prior_knows(facts, sigma):
    prior, x = card_prior(**facts), torch.rand(1, 1, 6, 6)
    assert torch.equal(ScoreLoss(prior).gradient(x), ScoreLoss(prior, sigma=sigma).gradient(x))
    assert_close(ScoreLoss(prior).gradient(x), x / 2 / sigma**2)


def test_attached_without_a_level():
    module, x = nn.Identity(), torch.randn_like(SEEN).requires_grad_()
    ScoreLoss(PRIOR).attach(module)
    (0 * module(x)).sum().backward()
    assert_close(x.grad, ScoreLoss(PRIOR, sigma=0.2).gradient(x))


def test_the_papers_setting_has_a_name():
    x, loss = torch.randn_like(SEEN), estimators.diffusionerf(PRIOR, start=10, end=30)
    levels = schedules.diffusionerf(10, 30)
    for step in (0, 17, 40):
        level = torch.full((1,), levels(step), dtype=torch.float64)
        assert_close(loss.gradient(x, step=step), (x - PRIOR.denoise(x, level)) / level**2)
    assert repr(loss) == "ScoreLoss(GaussianFieldPrior, sigma=diffusionerf(10, 30))"
    assert_close(
        estimators.diffusionerf(PRIOR, w=0.3, sigma=0.2).gradient(x), 0.3 * ScoreLoss(PRIOR, sigma=0.2).gradient(x)
    )


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"noise": 0.0}, "noise > 0"),
        ({"noise": -1}, "noise > 0"),
        ({"noise": float("nan")}, "noise > 0"),
        ({"noise": "0.1"}, "noise as a number"),
        ({"noise": 0.1, "budget": 0.2}, "`noise`, or a strength by `budget` or `normalize`"),
        ({"noise": 0.1, "normalize": "rms"}, "`noise`, or a strength"),
    ],
)
@pytest.mark.usefixtures("as_user")
def test_noise_that_cannot_be_is_named(settings, says):
    with pytest.raises(ValueError, match=says):
        ScoreLoss(PRIOR, **settings)
