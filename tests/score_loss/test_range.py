"""Patches far outside the range of a prior are warned of, once, and at next to no cost."""

import warnings

import pytest
import torch

from scorereg import GaussianFieldPrior, PriorCard, ScoreLoss
from scorereg.priors import wrap


def prior(channels=("r", "g", "b", "disparity"), **facts):
    card = PriorCard("rooms", channels, (8, 8), 0.001, 100.0, d_min=0.5, **facts)
    return wrap(lambda z, t: z / 2, prediction="denoised", channels=channels, card=card)


def patch(scale=1.0, *, shift=0.0, channel=slice(None)):
    x = 2 * torch.rand(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)) - 1
    x[:, channel] = x[:, channel] * scale + shift
    return x


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (
            patch(127.5, shift=127.5),
            r"channel \w+ goes from \S+ to 25\S+, but prior 'rooms' knows values from -1 to 1",
        ),
        (patch(2.0, shift=3.0, channel=3), r"channel disparity goes from 1\.\d+ to (4\.9\d*|5),"),
        (patch(1.0, shift=-5.0, channel=1), "channel g goes from -5"),
    ],
)
def test_a_patch_far_outside_is_warned_of_once(x, says):
    loss = ScoreLoss(prior(), sigma=0.1)
    with pytest.warns(UserWarning, match=says) as heard:
        value = loss(x)
    assert len(heard) == 1
    assert "\n" not in str(heard[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(5):
            assert loss(x) == value, "the value is the same as without the warning"


@pytest.mark.parametrize(
    ("x", "sigma"),
    [
        (patch(), 0.1),
        (patch(1.4), 0.1),
        (torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)), 0.1),
        (patch() + 20 * torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)), 20.0),
        (patch().index_fill(3, torch.tensor([0]), 3.0), 0.1),
    ],
)
def test_patches_that_are_met_in_a_fit_are_not(x, sigma):
    """Slightly outside, noise at the start, noise of the level itself, and a column of bad pixels."""
    loss = ScoreLoss(prior(), sigma=sigma)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(9):
            loss(x)


def test_the_cards_range_counts():
    wide = ScoreLoss(prior(range=(0.0, 255.0)), sigma=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wide(patch(127.5, shift=127.5))
    latents = prior()
    latents.transform = torch.nn.Identity()
    for unbounded in (latents, GaussianFieldPrior(size=8, channels=("r", "g", "b", "d"))):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ScoreLoss(unbounded, sigma=0.1)(patch(50.0))


def test_a_patch_that_leaves_the_range_later_is_seen():
    loss = ScoreLoss(prior(), sigma=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(5):
            loss(patch())
    with pytest.warns(UserWarning, match="goes from"):
        [loss(patch(100.0)) for _ in range(4)]


@pytest.mark.parametrize("way", ["hook", "gradient"])
def test_the_other_ways_in(way):
    loss, x = ScoreLoss(prior(), sigma=0.1), patch(100.0).requires_grad_(way == "hook")
    with pytest.warns(UserWarning, match="goes from"):
        loss.hook(x) if way == "hook" else loss.gradient(x)


def test_one_transfer_a_call(monkeypatch):
    """What is read from the device is the value alone, or the value with the measure: never two transfers."""
    calls = []
    for name in ("item", "tolist"):
        plain = getattr(torch.Tensor, name)
        monkeypatch.setattr(torch.Tensor, name, lambda self, plain=plain: calls.append(1) or plain(self))
    flat = GaussianFieldPrior(size=8, channels=("r", "g", "b", "d"))
    flat.residual = lambda x, sigma: x / 2
    flat.card = prior().card
    loss = ScoreLoss(flat, sigma=0.1)
    for _ in range(4):
        calls.clear()
        loss(patch())
        assert len(calls) == 1
