"""Each published estimator against its closed form on the Gaussian field, in expectation where it is random.

On that field D is linear: D(x) = H x with H = P / (P + sigma^2) for each frequency, of power P.
"""

import math
from itertools import pairwise

import pytest
import torch
from einops import rearrange
from torch.testing import assert_close

from scorereg import GaussianFieldPrior, ScoreLoss, schedules, score
from scorereg.estimators import ddim_noise, direct, red, red_diff, sdi, sds, sds_weight, sjc, vsd

NAMES = ("r", "g", "b", "disparity")
PRIOR = GaussianFieldPrior(size=8, channels=NAMES).double()
PARTICLES = GaussianFieldPrior(size=8, channels=NAMES, slope=1.0, std=0.2).double()
SIGMA = torch.tensor([0.05, 0.3, 2.0], dtype=torch.float64)
LEVEL = rearrange(SIGMA, "b -> b 1 1 1")
DRAWS = 4096
B2 = LEVEL.square() / (1 + LEVEL.square())


def patches():
    return torch.randn(3, 4, 8, 8, dtype=torch.float64)


def gradient(loss, x, *args, **kwargs):
    """Of each patch: without the 1 / b of the batch."""
    leaf = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(loss(leaf, *args, **kwargs), leaf)
    return len(x) * g


def filtered(x, gain):
    return torch.fft.ifft2(gain * torch.fft.fft2(x)).real


def residual(x, prior=PRIOR):
    """x - D(x), by the closed form rather than by the class."""
    return filtered(x, LEVEL.square() / (prior.power + LEVEL.square()))


# without noise


def test_direct_is_minus_the_score():
    x = patches()
    assert_close(gradient(direct(PRIOR), x, SIGMA), -score(PRIOR, x, SIGMA))
    assert_close(gradient(direct(PRIOR, w=0.5), x, SIGMA), 0.5 * residual(x) / LEVEL.square())


def test_red_is_the_residual():
    x = patches()
    assert_close(gradient(red(PRIOR), x, SIGMA), residual(x))
    assert_close(gradient(red(PRIOR, w=lambda s: 1 / s), x, SIGMA), residual(x) / LEVEL)


# random: the mean over draws within 4 standard errors, for every one of 768 values


def moments(loss, x, seed=0):
    """Mean and standard error of the gradient at x, over DRAWS draws of the noise, in batches."""
    generator = torch.Generator().manual_seed(seed)
    total, squares, chunk = 0, 0, 256
    for _ in range(DRAWS // chunk):
        many = x.repeat(chunk, 1, 1, 1)
        each = gradient(loss, many, SIGMA.repeat(chunk), generator=generator).unflatten(0, (chunk, 3))
        total, squares = total + each.sum(0), squares + each.square().sum(0)
    mean = total / DRAWS
    variance = squares / DRAWS - mean.square()
    return mean, variance, (variance / DRAWS).sqrt()


RANDOM = {
    "sds": (sds(PRIOR), lambda x: B2 * residual(x) / LEVEL),
    "sds, w=1": (sds(PRIOR, w=1.0), lambda x: residual(x) / LEVEL),
    "sds, w=a b^2": (
        sds(PRIOR, w=lambda s: sds_weight(s) / (1 + s**2).sqrt()),
        lambda x: B2 / (1 + LEVEL.square()).sqrt() * residual(x) / LEVEL,
    ),
    "sjc": (sjc(PRIOR), lambda x: residual(x) / LEVEL),
    "sjc, not reduced": (sjc(PRIOR, variance_reduction=False), lambda x: residual(x) / LEVEL),
    "sjc, paper": (sjc(PRIOR, w=lambda s: 1 / s), lambda x: residual(x) / LEVEL.square()),
    "red_diff": (red_diff(PRIOR), lambda x: LEVEL * residual(x) / LEVEL),
    "red_diff, square": (red_diff(PRIOR, w=torch.square), lambda x: LEVEL.square() * residual(x) / LEVEL),
    "vsd": (vsd(PRIOR, PARTICLES), lambda x: B2 * (residual(x) - residual(x, PARTICLES)) / LEVEL),
}


@pytest.mark.parametrize("name", RANDOM)
def test_expectation_is_the_closed_form(name):
    loss, exact = RANDOM[name]
    x = patches()
    mean, _, error = moments(loss, x)
    off = (mean - exact(x)).abs() / error
    assert off.max() < 4.5, f"{off.max():.1f} standard errors"  # the largest of 768 is beyond 4.5 once in 200 runs
    assert off.square().mean() < 1.5  # and they are not all to one side of it
    assert (error < 0.25 * exact(x).square().mean(dim=(1, 2, 3), keepdim=True).sqrt()).all()  # so it says something


def test_variance_of_sjc_is_what_is_reduced():
    """The noise passes with gain -H when reduced, with 1 - H when not: so it is reduced where sigma is large only."""
    x, keep = patches(), PRIOR.power / (PRIOR.power + LEVEL.square())
    for reduced, gain in ((True, -keep), (False, 1 - keep)):
        _, variance, _ = moments(sjc(PRIOR, variance_reduction=reduced), x)
        exact = gain.square().mean(dim=(2, 3))  # noise of unit variance through the filter, by Parseval
        assert_close(variance.mean(dim=(2, 3)), exact.expand(3, 4), rtol=0.06, atol=0.0)


def test_each_draw_of_sds_is_the_difference_of_noises():
    x, seeds = patches(), [torch.Generator().manual_seed(5) for _ in range(2)]
    n = torch.randn(x.shape, dtype=x.dtype, generator=seeds[0])
    noised = x + LEVEL * n
    eps_hat = residual(noised) / LEVEL
    assert_close(gradient(sds(PRIOR, w=1.0), x, SIGMA, generator=seeds[1]), eps_hat - n)
    seeds = [torch.Generator().manual_seed(5) for _ in range(2)]
    raw = gradient(sjc(PRIOR, variance_reduction=False), x, SIGMA, generator=seeds[1])
    assert_close(raw, residual(noised) / LEVEL)


def test_vsd_rests_where_the_renders_are_like_the_data():
    assert gradient(vsd(PRIOR, PRIOR), patches(), SIGMA).abs().max() == 0


def test_red_diff_over_a_fit_with_falling_sigma():
    """With w = 1 / sigma the gradient is the score in expectation, so the fit lands near the posterior mean."""
    torch.manual_seed(1)
    noise = 0.5
    truth = PRIOR.sample(8)
    seen = truth + noise * torch.randn_like(truth)
    exact = filtered(seen, PRIOR.power / (PRIOR.power + noise**2))
    x, steps = seen.clone(), 300
    loss = red_diff(PRIOR, sigma=schedules.log_linear(1.0, 0.2, 0, steps), w=lambda s: 1 / s)
    for step in range(steps):
        g = gradient(loss, x, step=step)
        x = x - 0.02 * (g + (x - seen) / noise**2)

    def error(y):
        return (y - truth).square().mean()

    assert error(x) < 0.5 * error(seen)
    assert error(x) < 1.3 * error(exact)


# inverted noise


def inverted_gain(steps, lowest):
    """x(sigma) / x(0) of `ddim_noise` for each frequency: a product over its Euler steps."""
    gains = []
    for sigma in SIGMA.tolist():
        first = min(sigma, lowest)
        ladder = [0.0, *[first * (sigma / first) ** (k / (steps - 1)) for k in range(steps)]]
        ladder[-1] = sigma
        gain = torch.ones_like(PRIOR.power)
        for here, there in pairwise(ladder):
            level = max(here, first)
            gain = gain * (1 + (there - here) * level / (PRIOR.power + level**2))
        gains.append(gain)
    return rearrange(torch.stack(gains), "b h w -> b 1 h w")


@pytest.mark.parametrize("steps", [2, 10])
def test_ddim_noise_is_the_product_of_its_steps(steps):
    x = patches()
    gain = inverted_gain(steps, 0.02)
    assert_close(ddim_noise(PRIOR, x, SIGMA, steps=steps), filtered(x, gain - 1) / LEVEL)


def test_ddim_noise_converges_to_the_flow():
    """dx/dsigma = sigma x / (P + sigma^2), so x(sigma) = x(0) sqrt((P + sigma^2) / P)."""
    x = patches()
    exact = filtered(x, ((PRIOR.power + LEVEL.square()) / PRIOR.power).sqrt() - 1) / LEVEL
    off = [(ddim_noise(PRIOR, x, SIGMA, steps=n, lowest=1e-3) - exact).abs().max() for n in (50, 200, 800)]
    assert off[0] > 3 * off[1] > 9 * off[2]
    assert off[2] < 0.02 * exact.abs().max()


def test_sdi_asks_at_the_noise_that_it_found():
    x = patches()
    gain = inverted_gain(10, 0.02)
    n, noised = filtered(x, gain - 1) / LEVEL, filtered(x, gain)
    actual = gradient(sdi(PRIOR, loudest=math.inf), x, SIGMA)
    assert_close(actual, residual(noised) / LEVEL - n)
    assert_close(gradient(sdi(PRIOR, loudest=math.inf), x, SIGMA), actual)  # no dice


@pytest.mark.parametrize("loudest", [1.0, 0.3])
def test_sdi_makes_noise_no_louder_than_it_was_in_training(loudest):
    x = 10 * patches()  # white, so louder than the field in high frequencies
    x[:, 1] *= 1e-4
    n = filtered(x, inverted_gain(10, 0.02) - 1) / LEVEL
    rms = n.square().mean(dim=(2, 3), keepdim=True).sqrt()
    assert (rms > loudest).any(dim=1).all()
    assert (rms < loudest).any(dim=1).all()
    n = torch.where(rms > loudest, loudest * n / rms, n)
    assert_close(gradient(sdi(PRIOR, loudest=loudest), x, SIGMA), residual(x + LEVEL * n) / LEVEL - n)


def test_sdi_of_nothing_is_nothing():
    assert gradient(sdi(PRIOR), torch.zeros(3, 4, 8, 8, dtype=torch.float64), SIGMA).eq(0).all()


def test_one_step_and_low_levels_of_the_inversion():
    x = patches()
    eps = residual(x) / LEVEL
    assert_close(ddim_noise(PRIOR, x, SIGMA, steps=1, lowest=10.0), eps)
    assert_close(ddim_noise(PRIOR, x, SIGMA, steps=7, lowest=10.0), eps)


# settings


def test_they_are_score_losses_and_take_its_settings():
    x, known = patches(), torch.rand(3, 1, 8, 8) < 0.5
    for make in (direct, red, sds, sjc, red_diff, sdi):
        loss = make(PRIOR, sigma=0.3, channel_weights={"disparity": 0}, on_nonfinite="skip")
        assert isinstance(loss, ScoreLoss)
        g = gradient(loss, x, known=known)
        assert g[:, 3].eq(0).all()
        assert g[known.expand_as(g)].eq(0).all()
        assert g.abs().sum() > 0
    with pytest.raises(TypeError, match="sigm"):
        sds(PRIOR, sigm=0.3)  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("make", [direct, red, sds, sjc, red_diff, sdi])
def test_w_may_be_a_schedule_and_zero_evaluates_nothing(make):
    class Counting:
        channels, calls = NAMES, 0

        def denoise(self, x, sigma):
            self.calls += 1
            return x / 2

    prior, x = Counting(), patches()
    loss = make(prior, sigma=0.3, w=schedules.ramp(1.0, 10, 20))
    assert gradient(loss, x, step=10).eq(0).all()
    assert prior.calls == 0
    half = gradient(loss, x, step=15, generator=torch.Generator().manual_seed(0))
    full = gradient(loss, x, step=20, generator=torch.Generator().manual_seed(0))
    assert_close(2 * half, full)
    with pytest.raises(ValueError, match="function of the step"):
        loss(x)


def test_repr_says_what_the_weight_is_made_of():
    assert repr(direct(PRIOR, w=0.5)) == "ScoreLoss(GaussianFieldPrior, weight=0.5)"
    assert repr(red(PRIOR)) == "ScoreLoss(GaussianFieldPrior, weight=sigma**2 * 1)"
    assert repr(sds(PRIOR)) == "ScoreLoss(GaussianFieldPrior, weight=sigma**1 * sds_weight, perturb=True)"


def test_budget_replaces_the_weight_of_an_estimator():
    leaf = patches().requires_grad_()
    data = torch.randn(3, 4, 8, 8, dtype=torch.float64)
    (sds(PRIOR, sigma=0.3, budget=0.1).hook(leaf) * data).sum().backward()
    assert_close((leaf.grad - data)[0, 3].norm(), 0.1 * data[0, 3].norm())
