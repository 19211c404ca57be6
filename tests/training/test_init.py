"""Runs that start from the weights of a prior; grain and sharpening of colours."""

import shutil

import pytest
import torch
from torch.testing import assert_close
from training_runs import Waves, quick, small

from scorereg import NetworkPrior, load_prior
from scorereg.data.frames.augment import augmented, sharpened
from scorereg.data.frames.pyramid import Crops
from scorereg.data.patch_spec import PatchSpec
from scorereg.training import train_prior
from scorereg.training.card import make_card
from scorereg.training.checkpoint import checkpoints, ema_prior, init_from_prior, new_state
from scorereg.training.start import with_spectrum

pytest.importorskip("accelerate")


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    quick(monkeypatch)


@pytest.fixture
def first(tmp_path):
    """The folder of a prior that was trained for a few steps."""
    return train_prior(Waves(), tmp_path / "first", small())


def test_a_run_starts_from_the_given_weights(first, tmp_path):
    settings = small(seed=3, init=str(first))
    prior = load_prior(first)
    assert isinstance(prior, NetworkPrior)
    card = with_spectrum(make_card("p", settings, Waves().about), settings, Waves(), prior)
    state = init_from_prior(new_state(card, settings), prior)
    weights = prior.network.state_dict()
    for network in (state.loss.network, state.average.module):
        assert_close(network.state_dict(), weights, rtol=0.0, atol=0.0)
    train_prior(Waves(), tmp_path / "next", small(seed=3, init=str(first), steps=1, lr=1e-9))
    x, sigma = torch.randn(2, 1, 8, 8), torch.tensor([0.1, 1.0])
    assert_close(ema_prior(tmp_path / "next").denoise(x, sigma), load_prior(first).denoise(x, sigma))
    assert load_prior(tmp_path / "next" / "prior").card.training["init"] == str(first)


def test_a_resumed_run_is_not_initialised_again(first, tmp_path):
    how = {"seed": 3, "init": str(first)}
    train_prior(Waves(), tmp_path / "whole", small(**how))
    train_prior(Waves(), tmp_path / "parts", small(**how, steps=2, schedule="constant"))
    kept = checkpoints(tmp_path / "parts")[-1].read_bytes()
    shutil.rmtree(first)
    settings = small(**how, steps=4, schedule="constant")
    assert train_prior(Waves(), tmp_path / "parts", settings, resume=True)
    assert checkpoints(tmp_path / "parts")[0].read_bytes() == kept
    with pytest.raises(ValueError, match="init was .*first.*now ''"):
        train_prior(Waves(), tmp_path / "parts", small(seed=3, steps=4, schedule="constant"), resume=True)


def test_a_prior_of_another_kind_is_refused(first, tmp_path):
    colors = Waves(channels=("r", "g", "b"))
    with pytest.raises(ValueError, match=r"--init .* has the channels disparity, but the run r, g, b"):
        train_prior(colors, tmp_path / "a", small(init=str(first)))
    with pytest.raises(ValueError, match=r"--init .*another kind \(.*tiny\) than the run's \(.*small\)"):
        train_prior(Waves(), tmp_path / "b", small(init=str(first), network_size="small"))
    assert not checkpoints(tmp_path / "b")


def test_grain_is_in_colours_alone_and_differs_from_patch_to_patch():
    grey, flat = torch.full((400, 3, 8, 8), 0.5), torch.full((400, 8, 8), 0.4)
    crops = Crops(grey, flat, torch.ones(400, 8, 8, dtype=torch.bool))
    draw = lambda grain: augmented(  # noqa: E731
        crops, torch.Generator().manual_seed(0), PatchSpec(depth_range=(1.0, 1.0), grain=grain)
    )[0]
    smooth, grained = draw(0.0), draw(0.2)
    assert smooth[:, :3].flatten(2).std(-1).max() < 1e-6
    assert_close(grained[:, 3], smooth[:, 3])
    strength = grained[:, :3].flatten(1).sub(smooth[:, :3].flatten(1)).std(-1)
    assert_close(strength.mean(), torch.tensor(0.07), rtol=0.2, atol=0.0)  # uniform in 0 .. 0.2, and smoothed
    assert strength.min() < 0.01
    assert 0.15 < strength.max() < 0.23
    noise = grained[:, :3] - smooth[:, :3]
    between_channels = (noise[:, 0] * noise[:, 1]).mean() / noise.square().mean()
    between_neighbours = (noise[..., 1:] * noise[..., :-1]).mean() / noise.square().mean()
    assert 0.55 < between_channels < 0.8  # the share of brightness, the square root of a uniform number, is 2/3
    assert 0.1 < between_neighbours < 0.4
    assert grained.abs().max() <= 1
    with pytest.raises(ValueError, match=r"grain must be at least 0 and below 1, but is 1\.5"):
        small(grain=1.5)


def test_sharpening_changes_what_is_fine_and_colours_alone():
    generator = torch.Generator().manual_seed(0)
    smooth = torch.full((300, 3, 8, 8), 0.5)
    edges = smooth.clone()
    edges[..., 4:] = 0.6
    assert_close(sharpened(smooth, generator, most=1.2), smooth)
    contrast = sharpened(edges, generator, most=1.2)[:, 0, :, [3, 4]].diff(dim=-1).flatten(1)[:, 2] / 0.1
    assert_close(contrast.min(), torch.tensor(1 - 0.3 * 2 / 3), rtol=0.05, atol=0.0)  # a third is on the other side
    assert_close(contrast.max(), torch.tensor(1 + 1.2 * 2 / 3), rtol=0.05, atol=0.0)
    with pytest.raises(ValueError, match="sharpen must be from 0 to 4, but is -1"):
        small(sharpen=-1.0)
