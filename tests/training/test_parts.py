"""The parts of a training step against their definitions: losses, levels, average, learning rate, settings."""

import dataclasses
import math

import pytest
import torch
from torch.testing import assert_close
from training_runs import Waves, small

from scorereg import NetworkPrior
from scorereg._ema import make_average
from scorereg.data.source import seeded
from scorereg.priors import cosine_betas
from scorereg.training.batches import BatchDataset, RankShare
from scorereg.training.card import make_card
from scorereg.training.checkpoint import new_state
from scorereg.training.optimizer import learning_rate
from scorereg.training.parametrization import PARAMETRIZATIONS
from scorereg.training.settings import RECIPES, Settings, differences, recipe_settings


def state_of(settings: Settings):
    return new_state(make_card("x", settings, Waves().about), settings)


def batch(count: int = 16) -> tuple[torch.Tensor, ...]:
    x = torch.rand(count, 1, 8, 8)
    return x, (torch.rand(x.shape) < 0.7).float(), torch.randn(x.shape)


@pytest.mark.usefixtures("as_user")
def test_the_loss_of_edm_by_hand(monkeypatch):
    """Karras et al. 2022: at weight (sigma^2 + s^2) / (sigma s)^2, over known values only."""
    x, weight, noise = batch()
    sigma = torch.linspace(0.05, 2, 16)
    s = sigma.double()[:, None, None, None].expand(x.shape)
    noisy = x + s * noise
    monkeypatch.setattr(NetworkPrior, "forward", lambda self, z, *_: torch.where(weight > 0, 0.5 * z, 1e6))
    loss = state_of(small()).loss(x, weight, noise, sigma)
    error = (s**2 + 0.25) / (s * 0.5) ** 2 * (0.5 * noisy - x) ** 2
    assert loss.item() == pytest.approx(error[weight > 0].mean().item(), rel=1e-5)


@pytest.mark.usefixtures("as_user")
def test_the_loss_of_the_paper_by_hand():
    """|eps - n| at z = sqrt(abar) x + sqrt(1 - abar) n, over known values only; the network gets the index itself."""
    x, weight, noise = batch(4)
    index, calls = torch.tensor([0.0, 10.0, 500.0, 999.0]), []

    class Network(torch.nn.Module):
        def forward(self, z, time, return_dict):
            calls.append((z, time))
            return (torch.where(weight > 0, 0.25 * z, 1e6),)

    loss = state_of(small(recipe="diffusionerf")).loss
    loss.network = Network()
    value = loss(x, weight, noise, index)
    kept = (1 - cosine_betas(1000)).cumprod(0)[index.long()][:, None, None, None]
    z = kept.sqrt() * x + (1 - kept).sqrt() * noise
    ((seen, time),) = calls
    assert_close(seen.double(), z, rtol=1e-6, atol=1e-6)
    assert torch.equal(time, index)
    assert value.item() == pytest.approx((0.25 * z - noise).abs()[weight > 0].mean().item(), rel=1e-5)


def test_levels():
    settings = small(sigma=(0.1, 0.3))
    sigma = PARAMETRIZATIONS["edm"].draw_levels(settings, 4000, seeded(0))
    assert (sigma.min().item(), sigma.max().item()) == (pytest.approx(0.1), pytest.approx(0.3))
    log = PARAMETRIZATIONS["edm"].draw_levels(small(sigma=(1e-9, 1e9)), 40_000, seeded(0)).log()
    assert (log.mean().item(), log.std().item()) == (pytest.approx(-2.0, abs=0.03), pytest.approx(1.3, abs=0.03))
    index = PARAMETRIZATIONS["epsilon"].draw_levels(small(recipe="diffusionerf"), 40_000, seeded(0))
    assert (index.min().item(), index.max().item()) == (0, 999)
    assert torch.equal(index, index.round())


def test_no_two_parts_share_their_noise():
    """Of any step, process and part; and it is none of the source's own numbers."""
    settings = small(accumulate=2, batch=8)
    shares = [RankShare.of(settings, rank, 2) for rank in (0, 1)]
    noises = [BatchDataset(Waves(), settings, share)[i][2] for share in shares for i in range(4)]
    assert {noise.shape for noise in noises} == {(2, 1, 8, 8)}
    assert len({tuple(noise.flatten().tolist()) for noise in noises}) == 8
    patches = [BatchDataset(Waves(), settings, share)[i][0] for share in shares for i in range(4)]
    assert len({tuple(x.flatten().tolist()) for x in patches}) == 8
    other = BatchDataset(Waves(), dataclasses.replace(settings, seed=1), shares[0])[0]
    assert not torch.equal(other[2], noises[0])
    with pytest.raises(ValueError, match="a batch of 8 is not divided evenly among 3 processes with 2 parts"):
        RankShare.of(settings, 0, 3)


def test_the_average_by_hand():
    """Weights 1, 2, 3 of one step each: decay (1 + n) / (10 + n), at most the given one."""
    network = torch.nn.Linear(2, 1)
    with torch.no_grad():
        for value in network.parameters():
            value.zero_()
        average, exact = make_average(network, 0.2), 0.0
        for n in (1, 2, 3):
            for value in network.parameters():
                value.fill_(float(n))
            average.update_parameters(network)
            decay = min(0.2, (1 + n) / (10 + n))
            exact = decay * exact + (1 - decay) * n
    assert_close(average.module.weight, torch.full((1, 2), exact))
    assert not average.module.weight.requires_grad


def test_learning_rate_rises_and_falls():
    settings = Settings(steps=10_000, lr=2.0)
    rates = [learning_rate(step, settings) for step in range(10_000)]
    assert rates[0] == pytest.approx(2 / 500)
    assert max(rates) == rates[499]
    assert rates[5000] == pytest.approx(1.0)
    assert 0 < rates[-1] < 1e-6
    assert learning_rate(0, Settings(steps=1, lr=2.0)) > 0
    assert {learning_rate(step, RECIPES["diffusionerf"]) for step in (0, 10**5)} == {1e-4}


def test_the_recipe_of_the_paper():
    paper = RECIPES["diffusionerf"]
    found = (paper.steps, paper.batch, paper.lr, paper.ema, paper.weight_decay, paper.network_size, paper.patch_size)
    assert (*found, paper.d_min) == (650_000, 32, 1e-4, 0.995, 0.0, "base", 48, 0.2)


def test_differences_are_listed_in_order_and_some_are_free():
    saved = Settings().to_json()
    free = dataclasses.replace(Settings(), steps=1, keep=9, accumulate=2, workers=3, compile=True, precision="fp32")
    assert differences(saved, free.to_json()) == []
    other = dataclasses.replace(Settings(), seed=1, lr=2e-3).to_json()
    assert differences(saved, other) == ["lr was 0.001, now 0.002", "seed was 0, now 1"]


def test_the_learning_rate_suits_the_network():
    rates = {name: recipe_settings("edm", network_size=name).lr for name in ("tiny", "small", "base")}
    assert rates == {"tiny": 2e-3, "small": 1e-3, "base": 1e-4}
    assert recipe_settings("edm", network_size="tiny", lr=0.5).lr == 0.5
    assert recipe_settings("diffusionerf", network_size="tiny").lr == 1e-4
    with pytest.raises(ValueError, match="no recipe is called 'x'; choose one of edm, diffusionerf"):
        recipe_settings("x")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"steps": 0}, r"steps must be at least 1, but is 0\. Give --steps a number > 0"),
        ({"batch": 0}, "batch must be at least 1"),
        ({"seed": -1}, "seed must be at least 0, but is -1"),
        ({"workers": -1}, "workers must be at least 0"),
        ({"save_every": 0}, r"save_every must be at least 1, but is 0\. Give --save-every"),
        ({"focal": (180.0, 80.0)}, r"focal must be two numbers, 0 < low <= high, but is 180, 80"),
        ({"depth_range": (0.5, 4.0)}, "depth_range may not exceed 2, but is 4"),
        ({"sigma": (0.0, 1.0)}, "sigma must be two numbers"),
        ({"d_min": 0.0}, "d_min must be > 0"),
        ({"lr": math.nan}, "lr must be > 0, but is nan"),
        ({"ema": 1.0}, "ema must be at least 0 and below 1"),
        ({"network_size": "large"}, "network_size must be one of tiny, small, folded, base, but is 'large'"),
        ({"precision": "fp8"}, "precision must be one of auto, fp32, bf16, fp16, but is 'fp8'"),
        ({"recipe": "magic"}, "recipe must be one of edm, diffusionerf"),
        ({"accumulate": 5}, "a batch of 4 is not divided evenly into 5 parts"),
    ],
)
def test_settings_that_no_run_can_have(change, says):
    with pytest.raises(ValueError, match=says):
        small(**change)


def test_the_papers_recipe_is_for_images():
    with pytest.raises(ValueError, match=r"diffusionerf is for images, but the data are of size \(16,\)"):
        make_card("x", small(recipe="diffusionerf"), Waves(size=(16,)).about)
