"""What a run starts from: the linear denoiser of its data."""

import dataclasses

import pytest
import torch
from training_runs import Waves, quick, small

from scorereg import load_prior
from scorereg.evaluation.denoising import LinearFilter
from scorereg.priors.networks.spectrum import SPECTRUM
from scorereg.training import train_prior
from scorereg.training.card import make_card
from scorereg.training.checkpoint import ema_prior, new_state
from scorereg.training.start import with_spectrum

pytest.importorskip("accelerate")


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    quick(monkeypatch)


@pytest.mark.parametrize(
    ("size", "most"),
    [((8,), 1.05), ((8, 8), 1.05), ((8, 8, 8), 1.2)],  # these volumes are not stationary: their corners are known
)
def test_a_run_starts_no_worse_than_the_best_filter(size, most):
    settings, waves = small(), Waves(size=size)
    state = new_state(with_spectrum(make_card("p", settings, waves.about), settings, waves), settings)
    x, filtered = waves.plain("held-out", 200, seed=5)[0], LinearFilter(waves.plain("train", 1000, seed=6)[0])
    for sigma in (0.1, 0.5):
        level = torch.full((len(x),), sigma)
        noisy = x + sigma * torch.randn(x.shape, generator=torch.Generator().manual_seed(7))
        error = (state.prior().denoise(noisy, level) - x).square().mean()
        assert error < most * (filtered.denoise(noisy, level) - x).square().mean()


def test_a_run_without_it_has_the_network_of_before(tmp_path):
    settings = small(linear=False, steps=1)
    card = load_prior(train_prior(Waves(), tmp_path / "run", settings)).card
    assert SPECTRUM not in card.network
    assert (tmp_path / "run" / "prior" / "scheduler_config.json").is_file()
    assert new_state(card, settings).loss.network.config["in_channels"] == 1


def test_a_resumed_run_keeps_its_start_where_the_data_have_grown(tmp_path):
    how = {"schedule": "constant"}
    train_prior(Waves(), tmp_path / "run", small(steps=2, **how))
    before = ema_prior(tmp_path / "run").card.network[SPECTRUM]

    @dataclasses.dataclass(frozen=True)
    class Brighter(Waves):
        def _draw(self, count, generator):
            return super()._draw(count, generator) / 2 + 0.3

    train_prior(Brighter(), tmp_path / "run", small(steps=4, **how), resume=True)
    assert ema_prior(tmp_path / "run").card.network[SPECTRUM] == before


def test_another_start_is_another_run(tmp_path):
    train_prior(Waves(), tmp_path / "run", small(steps=2))
    with pytest.raises(ValueError, match="linear was True, now False"):
        train_prior(Waves(), tmp_path / "run", small(steps=4, linear=False), resume=True)


def test_a_run_from_a_prior_without_a_spectrum_has_none(tmp_path):
    train_prior(Waves(), tmp_path / "first", small(linear=False, steps=1))
    init = str(tmp_path / "first" / "prior")
    train_prior(Waves(), tmp_path / "next", small(init=init, steps=1))
    assert SPECTRUM not in load_prior(tmp_path / "next" / "prior").card.network
