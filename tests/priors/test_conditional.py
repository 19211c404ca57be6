"""Conditional priors: inputs of the network, compositions, ScoreLoss with a mask of known values, training."""

import pytest
import torch
from test_priors_network import Recorder, make_card
from torch.testing import assert_close
from training_runs import Waves, quick, small

from scorereg import NetworkPrior, ScoreLoss, load_prior
from scorereg.data.source import seeded
from scorereg.priors.compose import ChannelPrior, MarginalPrior, ProductPrior, TemperedPrior
from scorereg.priors.networks import build_network
from scorereg.priors.tile import TiledPrior
from scorereg.training import train_prior
from scorereg.training.card import make_card as card_of
from scorereg.training.losses import EdmLoss, draw_known

CHANNELS = ("r", "g", "b", "disparity")


class Halves(Recorder):
    """Answers with the values it is given, without the mask."""

    def forward(self, x, noise, return_dict=True):
        super().forward(x, noise)
        return (x[:, : x.shape[1] // 2],)


def conditional(**network) -> NetworkPrior:
    return NetworkPrior(Halves(), make_card(network={"conditional": True, **network}))


def known_colors(count: int) -> torch.Tensor:
    return torch.tensor([True, True, True, False])[None, :, None, None].expand(count, 4, 1, 1)


def test_the_network_sees_known_values_without_noise_and_where_they_are():
    prior, x, sigma = conditional(), torch.randn(2, 4, 8, 8), torch.tensor([0.02, 3.0])
    known = torch.rand(2, 4, 8, 8) < 0.5
    prior.denoise(x, sigma, known)
    values, mask = prior.network.x.split(4, 1)
    scale = (sigma.square() + 0.25).rsqrt()[:, None, None, None]
    assert_close(values, torch.where(known, 2 * x, scale * x))  # the scale of sigma = 0 is 1 / sigma_data
    assert_close(mask, known.float())
    prior.denoise(x, sigma)
    assert_close(prior.network.x, torch.cat([scale * x, torch.zeros_like(x)], 1))


@pytest.mark.parametrize("fold", [1, 2])
def test_known_values_come_back_as_they_are(fold):
    prior, x, sigma = conditional(patchify=fold), torch.randn(3, 4, 8, 8), torch.tensor([0.02, 0.1, 3.0])
    known = known_colors(3)
    denoised, removed = prior.denoise(x, sigma, known), prior.residual(x, sigma, known)
    assert torch.equal(denoised[:, :3], x[:, :3])
    assert not removed[:, :3].any()
    assert_close(x - denoised, removed, rtol=1e-5, atol=1e-6)
    assert removed[:, 3].abs().min() > 0


def test_score_loss_passes_the_mask():
    prior, x, sigma = conditional(), torch.randn(3, 4, 8, 8, requires_grad=True), torch.tensor([0.1, 0.2, 0.3])
    known = known_colors(3)
    ScoreLoss(prior)(x, sigma, known=known).backward()
    expected = prior.residual(x.detach(), sigma, known) / sigma.square()[:, None, None, None] / 3
    assert_close(x.grad, expected)
    assert prior.network.x[:, 4:7].all()
    noise = torch.randn(3, 4, 8, 8)
    ScoreLoss(prior, perturb=lambda *_: noise)(x, sigma, known=known)
    values = prior.network.x[:, :4]
    assert_close(values[:, :3], 2 * x.detach()[:, :3])  # no noise on what is known
    level = sigma[:, None, None]
    assert_close(values[:, 3], (x.detach()[:, 3] + level * noise[:, 3]) * (level.square() + 0.25).rsqrt())


def test_a_prior_that_is_not_conditional_gets_no_mask():
    net = Recorder()
    x = torch.randn(1, 4, 8, 8)
    ScoreLoss(NetworkPrior(net, make_card(network={})))(x, 0.1, known=known_colors(1))
    assert net.x.shape[1] == 4


@pytest.mark.parametrize("method", ["denoise", "residual"])
def test_a_mask_is_refused_by_a_prior_that_is_not_conditional(method):
    prior = NetworkPrior(Recorder(), make_card(network={}))
    with pytest.raises(ValueError, match=r"'x' is not one: .*ScoreLoss\(prior\)\(patch, known=mask\).*--known rgb"):
        getattr(prior, method)(torch.randn(1, 4, 8, 8), torch.tensor([0.1]), known_colors(1))


class Conditional:
    """A conditional prior of any size that halves unknown values, and records the masks it got."""

    conditional = True

    def __init__(self, channels=CHANNELS):
        self.channels, self.known = channels, []

    def denoise(self, x, sigma, known=None):
        self.known.append(known)
        return x / 2 if known is None else torch.where(known, x, x / 2)


class Unconditional:
    """A prior that takes no mask."""

    def __init__(self, channels=CHANNELS):
        self.channels = channels

    def denoise(self, x, sigma):
        return x / 4


COMPOSITIONS = {
    "product": lambda part: ProductPrior([part]),
    "tempered": lambda part: TemperedPrior(part, 2.0),
    "channel": lambda part: ChannelPrior(part, part.channels),
    "marginal": lambda part: MarginalPrior(part, part.channels),
    "tiled": lambda part: TiledPrior(part, 4),
}


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_a_composition_passes_the_mask(name):
    part, x, sigma = Conditional(), torch.randn(2, 4, 8, 8), torch.tensor([0.1, 0.3])
    whole = COMPOSITIONS[name](part)
    known = torch.rand(2, 4, 8, 8) < 0.5
    assert whole.conditional
    assert_close(whole.denoise(x, sigma, known), torch.where(known, x, x / 2))
    assert_close(whole.denoise(x, sigma), x / 2)
    assert_close(whole.denoise(x, sigma, known_colors(2)), torch.cat([x[:, :3], x[:, 3:] / 2], 1))  # broadcast
    moved = x.clone().requires_grad_()
    ScoreLoss(whole)(moved, sigma, known=known).backward()
    assert_close(moved.grad, torch.where(known, 0, x / 2) / sigma.square()[:, None, None, None] / 2)


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_a_composition_of_unconditional_priors_refuses_a_mask(name):
    whole, x, sigma = COMPOSITIONS[name](Unconditional()), torch.randn(1, 4, 8, 8), torch.tensor([0.1])
    with pytest.raises(ValueError, match="is not one"):
        whole.denoise(x, sigma, known_colors(1))
    assert ScoreLoss(whole)(x, sigma, known=known_colors(1)) > 0


def test_a_product_passes_the_mask_to_its_conditional_parts():
    part, x, sigma = Conditional(), torch.randn(2, 4, 8, 8), torch.tensor([0.1, 0.3])
    whole, known = ProductPrior([Unconditional(), part], [1.0, 0.5]), known_colors(2)
    assert_close(whole.denoise(x, sigma, known), torch.where(known, x, x / 4 - x / 4))
    assert torch.equal(part.known[0], known)


def test_parts_of_other_channels_get_the_mask_of_theirs():
    x, sigma = torch.randn(2, 4, 8, 8), torch.tensor([0.1, 0.3])
    known = torch.rand(2, 4, 8, 8) < 0.5
    fewer = Conditional(("disparity", "r"))
    ChannelPrior(fewer, CHANNELS).denoise(x, sigma, known)
    assert torch.equal(fewer.known[0], known[:, [3, 0]])
    more = Conditional()
    MarginalPrior(more, ("disparity", "r")).denoise(x[:, :2], sigma, known[:, :2])
    expected = torch.stack([known[:, 1], 0 * known[:, 1], 0 * known[:, 1], known[:, 0]], 1)
    assert all(torch.equal(mask, expected) for mask in more.known)


def test_a_network_in_a_composition_gets_the_mask():
    prior, x = conditional(), torch.randn(1, 4, 12, 8)
    known = torch.rand(1, 4, 12, 8) < 0.5
    TiledPrior(prior, overlap=4).denoise(x, torch.tensor([0.1]), known)
    assert_close(prior.network.x[:, 4:], torch.cat([known[:, :, :8], known[:, :, 4:]]).float())


def test_what_is_known_has_no_part_in_the_training_loss():
    loss = EdmLoss(build_network("tiny", patch_size=8, channels=4, inputs=2), conditional_card(), None)
    x, noise, level = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8), torch.tensor([0.1, 1.0])
    known, weight = known_colors(2), torch.ones(2, 4, 8, 8)
    other = torch.where(known, torch.randn_like(noise), noise)
    assert_close(loss(x, weight, noise, level, known), loss(x, weight, other, level, known))
    alone = loss(x, weight * ~known, noise * ~known, level, known)
    assert_close(loss(x, weight, noise, level, known), alone)


def conditional_card():
    return make_card(network={"size": "tiny", "patchify": 1, "conditional": True})


def test_three_of_four_patches_have_known_colors():
    known = draw_known(("r", "g", "b"), CHANNELS, 4000, seeded(1))
    assert known.shape == (4000, 4, 1, 1)
    assert not known[:, 3].any()
    assert torch.equal(known[:, 0], known[:, 2])
    assert 0.72 < known[:, 0].float().mean() < 0.78


class Twins(Waves):
    """Two equal channels: one determines the other."""

    def _draw(self, count, generator):
        return super()._draw(count, generator)[:, :1].repeat(1, 2, 1, 1)


def test_training_learns_to_use_what_is_known(tmp_path, monkeypatch):
    quick(monkeypatch)
    source = Twins(channels=("r", "disparity"))
    settings = small(known="r", channels="r,disparity", steps=400, batch=16, save_every=400, lr=3e-3)
    prior = load_prior(str(train_prior(source, tmp_path / "run", settings)))
    assert prior.conditional
    assert prior.card.training["known"] == "r"
    x, _ = source.plain("held-out", 64, seed=5)
    noisy, sigma = x.clone(), torch.full((64,), 1.0)
    noisy[:, 1] += torch.randn(64, 8, 8)
    known = torch.tensor([True, False])[None, :, None, None]
    given, missing = ((prior.denoise(noisy, sigma, k) - x)[:, 1].square().mean() for k in (known, None))
    assert given < 0.3 * missing


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"known": "nx"}, "nx, but a patch holds r, disparity"),
        ({"known": "r", "recipe": "diffusionerf"}, "for images and the recipe edm"),
    ],
)
def test_bad_names(change, words):
    with pytest.raises(ValueError, match=words):
        card_of("x", small(**change), Waves(channels=("r", "disparity")).about)


def test_lines_and_volumes_have_nothing_known():
    with pytest.raises(ValueError, match="for images"):
        card_of("x", small(known="r"), Waves(size=(8,), channels=("r",)).about)
