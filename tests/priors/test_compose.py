"""Composed priors against closed forms of Gaussians; their cards, and what cannot be composed."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from scorereg import RGBD, GaussianFieldPrior, PriorCard, ScoreLoss, score
from scorereg.priors.compose import ChannelPrior, MarginalPrior, ProductPrior, TemperedPrior

CARD = PriorCard(
    name="a", channels=("d",), size=(8, 8), sigma_min=0.01, sigma_max=5.0, d_min=0.5, focal=(80.0, 180.0),
    denoising={"x": []}, residual_quantiles={"sigma": [1.0], "levels": [0.5], "values": [[1.0]]},
)  # fmt: skip


class White:
    """Independent Gaussian values, the same in any number of dimensions; a prior that is no module."""

    def __init__(self, variance=0.25, mean=0.0, channels=("d",), card=None):
        self.variance, self.mean, self.channels, self.card = variance, mean, channels, card

    def denoise(self, x, sigma):
        noise = sigma.reshape(-1, *[1] * (x.ndim - 1)).square()
        return (self.variance * x + noise * self.mean) / (self.variance + noise)


class Correlated(nn.Module):
    """A Gaussian whose channels are correlated, pixel by pixel."""

    def __init__(self, covariance, channels):
        super().__init__()
        self.covariance, self.channels = covariance, channels

    def denoise(self, x, sigma):
        eye = torch.eye(len(self.channels), dtype=x.dtype)
        gain = self.covariance @ torch.linalg.inv(self.covariance + sigma[:, None, None].square() * eye)
        return torch.einsum("bcd,bd...->bc...", gain, x)


@settings(deadline=None, max_examples=20)
@given(
    st.lists(st.tuples(st.floats(0.1, 2), st.floats(-1, 1), st.floats(-1, 3)), min_size=1, max_size=3),
    st.floats(0.01, 5),
    st.integers(1, 3),
)
def test_product_is_the_product_of_the_noised_densities(parts, level, dimensions):
    """Against autograd of the sum of the log densities, in each number of dimensions."""
    x = torch.randn(2, 1, *[4] * dimensions, dtype=torch.float64, requires_grad=True)
    sigma = torch.tensor([level, 2 * level], dtype=torch.float64)
    noise = sigma.reshape(-1, *[1] * (x.ndim - 1)).square()
    log_p = sum(-w * ((x - m).square() / (2 * (v + noise))).sum() for v, m, w in parts)
    (exact,) = torch.autograd.grad(log_p, x)
    prior = ProductPrior([White(v, m) for v, m, _ in parts], [w for *_, w in parts])
    assert_close(score(prior, x.detach(), sigma), exact)


def test_one_prior_with_weight_one_is_itself():
    field = GaussianFieldPrior(8, ("d",))
    x, sigma = torch.randn(3, 1, 8, 8), torch.tensor([0.01, 0.3, 2.0])
    for same in (ProductPrior([field]), ProductPrior([field, field], [0.25, 0.75]), TemperedPrior(field, 1)):
        assert_close(same.denoise(x, sigma), field.denoise(x, sigma))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_temperature_multiplies_the_variances_and_leaves_the_noise(temperature):
    field = GaussianFieldPrior(8, ("d",), std=0.5)
    exact = GaussianFieldPrior(8, ("d",), std=0.5 * math.sqrt(temperature))
    x, sigma = torch.randn(3, 1, 8, 8, dtype=torch.float64), torch.tensor([0.01, 0.3, 2.0], dtype=torch.float64)
    assert_close(TemperedPrior(field, temperature).denoise(x, sigma), exact.denoise(x, sigma))


def test_temperature_keeps_the_mean():
    tempered, exact = TemperedPrior(White(0.25, 0.7), 3.0), White(0.75, 0.7)
    x, sigma = torch.randn(2, 1, 5, dtype=torch.float64), torch.tensor([0.1, 1.0], dtype=torch.float64)
    assert_close(tempered.denoise(x, sigma), exact.denoise(x, sigma))


def test_the_other_temperature_is_a_product_of_one():
    """The noised density to the power 1 / T: variance T (s^2 + sigma^2)."""
    x, sigma = torch.randn(2, 1, 5, dtype=torch.float64), torch.tensor([0.1, 1.0], dtype=torch.float64)
    exact = -x / (3 * (0.25 + sigma[:, None, None].square()))
    assert_close(score(ProductPrior([White()], [1 / 3]), x, sigma), exact)


def test_depth_prior_on_an_rgbd_patch():
    field = GaussianFieldPrior(8, ("disparity",))
    prior = ChannelPrior(field, RGBD.channels)
    patch = torch.randn(2, 4, 8, 8, requires_grad=True)
    before = patch.detach().clone()
    sigma = torch.tensor([0.1, 0.5])
    denoised = prior.denoise(patch.detach(), sigma)
    assert torch.equal(denoised[:, :3], patch[:, :3])
    assert_close(denoised[:, 3:], field.denoise(patch[:, 3:].detach(), sigma))
    ScoreLoss(prior)(patch, sigma).backward()
    assert patch.grad is not None
    assert (patch.grad[:, :3] == 0).all()
    assert patch.grad[:, 3].abs().min() > 0
    assert torch.equal(patch, before)


def test_channels_are_found_by_name():
    prior = ChannelPrior(Correlated(torch.tensor([[1.0, 0.0], [0.0, 0.1]]), ("a", "b")), ("b", "x", "a"))
    x = torch.ones(1, 3, 2)
    assert_close(prior.denoise(x, torch.ones(1))[0, :, 0], torch.tensor([0.1 / 1.1, 1.0, 0.5]))


def test_a_color_and_a_depth_prior_make_an_rgbd_prior():
    both = GaussianFieldPrior(8, RGBD.channels)
    apart = [GaussianFieldPrior(8, RGBD.channels[:3]), GaussianFieldPrior(8, RGBD.channels[3:])]
    prior = ProductPrior([ChannelPrior(part, RGBD.channels) for part in apart])
    x, sigma = torch.randn(2, 4, 8, 8), torch.tensor([0.1, 0.5])
    assert_close(prior.denoise(x, sigma), both.denoise(x, sigma))


def test_marginal_of_a_gaussian_is_exact_in_expectation():
    """Over many pixels of one value, with what the noise leaves of the error within four standard errors."""
    covariance = torch.tensor([[0.5, 0.3, 0.2], [0.3, 0.4, 0.1], [0.2, 0.1, 0.3]], dtype=torch.float64)
    joint = Correlated(covariance, ("a", "b", "c"))
    exact = Correlated(covariance[[2, 0]][:, [2, 0]], ("c", "a"))
    x = torch.tensor([0.7, -0.4], dtype=torch.float64)[None, :, None].expand(1, 2, 20_000)
    sigma = torch.tensor([0.6], dtype=torch.float64)
    error = [
        MarginalPrior(joint, ("c", "a"), rounds=n, draws=4, start=1.0).denoise(x, sigma) - exact.denoise(x, sigma)
        for n in (0, 30)
    ]
    bound = 4 * error[1].std(dim=2) / 20_000**0.5
    assert (error[1].mean(dim=2).abs() < bound).all()
    assert (error[0].mean(dim=2).abs() > 10 * bound).any()


def test_marginal_is_a_function_and_draws_lessen_its_noise():
    joint = Correlated(torch.tensor([[0.5, 0.4], [0.4, 0.5]]), ("a", "b"))
    x, sigma = torch.zeros(1, 1, 4000), torch.tensor([0.5])
    spread = []
    for draws in (1, 4):
        prior = MarginalPrior(joint, ("a",), draws=draws)
        assert torch.equal(prior.denoise(x, sigma), prior.denoise(x, sigma))
        spread.append(prior.denoise(x, sigma).var())
    assert spread[1] < 0.6 * spread[0]
    other = MarginalPrior(joint, ("a",), seed=1)
    assert not torch.equal(other.denoise(x, sigma), MarginalPrior(joint, ("a",)).denoise(x, sigma))


def test_marginal_of_independent_channels_is_the_prior_of_the_channel():
    field, x, sigma = GaussianFieldPrior(8, ("a", "b")), torch.randn(2, 1, 8, 8), torch.tensor([0.1, 0.5])
    exact = GaussianFieldPrior(8, ("b",)).denoise(x, sigma)
    assert_close(MarginalPrior(field, ("b",), draws=3).denoise(x, sigma), exact)


def test_parts_that_are_modules_move_with_the_whole():
    inside = ChannelPrior(GaussianFieldPrior(8, ("d",)), ("d", "e"))
    prior = ProductPrior([inside, White(channels=("d", "e"))])
    assert [buffer.dtype for buffer in prior.to(torch.float32).buffers()].count(torch.float32) == 1
    assert prior.priors[0].prior.power.dtype == torch.float32


def test_cards_say_what_the_whole_needs():
    other = dataclasses.replace(
        CARD, name="b", sigma_min=0.02, sigma_max=9.0, focal=(100.0, 300.0), depth=None, d_min=None
    )
    card = ProductPrior([White(), White(card=other), White(card=CARD)]).card
    assert card is not None
    assert (card.name, card.sigma_min, card.sigma_max, card.focal) == ("b x a", 0.02, 5.0, (100.0, 180.0))
    assert (card.depth, card.d_min) == ("planar", 0.5)
    assert not card.denoising, "measured on the parts"
    assert not card.residual_quantiles
    card = TemperedPrior(White(card=CARD), 4).card
    assert card is not None
    assert (card.sigma_min, card.sigma_max) == (0.02, 10.0)
    card = ChannelPrior(White(card=CARD), ("x", "d")).card
    assert card is not None
    assert card.channels == ("x", "d")
    assert ProductPrior([White()]).card is TemperedPrior(White(), 2).card is MarginalPrior(White(), ("d",)).card is None


def test_a_size_that_is_unknown_contradicts_none():
    unknown = dataclasses.replace(CARD, size=())
    for cards in ((unknown, CARD), (CARD, unknown)):
        assert ProductPrior([White(card=card) for card in cards]).card.size == CARD.size != ()
    assert ProductPrior([White(card=unknown), White(card=unknown)]).card.size == ()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"d_min": 0.2}, "must agree on d_min, but their cards say 0.2 and 0.5"),
        ({"size": (16, 16)}, "must agree on size"),
        ({"sigma_min": 6.0, "sigma_max": 9.0}, "must share noise levels and focal lengths"),
        ({"focal": (300.0, 400.0)}, r"focal \(300.0, 180.0\) in common"),
    ],
)
def test_cards_that_contradict_each_other(change, says):
    with pytest.raises(ValueError, match=says):
        ProductPrior([White(card=CARD), White(card=dataclasses.replace(CARD, **change))])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ProductPrior([]), "needs at least one prior"),
        (lambda: ProductPrior([White()], [1.0, 2.0]), "as many weights as priors, but got 2 and 1"),
        (lambda: ProductPrior([White()], [math.nan]), "must be a finite number"),
        (lambda: ProductPrior([White(), White(channels=("e",))]), r"one knows d and another e\. ChannelPrior"),
        (lambda: TemperedPrior(White(), 0.0), "a temperature must be a finite number above 0, but is 0"),
        (lambda: ChannelPrior(White(), ("r", "g")), r"prior's channels \(d\) must be found once in the patch"),
        (lambda: ChannelPrior(White(), ("d", "d")), "found once"),
        (lambda: MarginalPrior(White(), ("e",)), r"patch's channels \(e\) must be found once in the prior"),
        (
            lambda: MarginalPrior(White(), ("d",), rounds=-1),
            "`rounds` of a marginal must be a whole number, 0 or more, but is -1",
        ),
        (
            lambda: MarginalPrior(White(), ("d",), draws=0),
            "`draws` of a marginal must be a whole number, 1 or more, but is 0",
        ),
    ],
)
def test_mistakes_are_named(make, says):
    with pytest.raises(ValueError, match=says):
        make()
