"""RenderDenoiser: it starts as the prior and learns the renders; and the estimators by name."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from scorereg import GaussianFieldPrior, NetworkPrior, PriorCard, RenderDenoiser
from scorereg.estimators import by_name, direct, sdi, sds, sjc, vsd
from scorereg.priors.networks import build_network
from scorereg.score_loss import Particles

SIGMA = 0.3


@pytest.fixture
def prior():
    network = build_network("tiny", patch_size=8, channels=1)
    nn.init.normal_(network.get_parameter("conv_out.weight"), std=0.02)
    card = PriorCard("tiny", ("gray",), (8, 8), 0.005, 5.0, network={"patchify": 1})
    return NetworkPrior(network, card).eval().requires_grad_(False)


def error(denoiser, x):
    noised = x + SIGMA * torch.randn(x.shape, generator=torch.Generator().manual_seed(9))
    return (denoiser.denoise(noised, torch.full((len(x),), SIGMA)) - x).square().mean().item()


def gradient(loss, x, seed=0):
    leaf = x.clone().requires_grad_()
    loss(leaf, SIGMA, generator=torch.Generator().manual_seed(seed)).backward()
    return leaf.grad


def test_they_begin_as_the_prior_and_move_nothing(prior):
    x, denoiser = torch.randn(2, 1, 8, 8), RenderDenoiser(prior)
    assert denoiser.channels == ("gray",)
    assert gradient(vsd(prior, denoiser), x).eq(0).all()


def test_they_learn_the_renders_and_leave_the_prior_alone(prior):
    x, denoiser = 0.8 * torch.ones(4, 1, 8, 8), RenderDenoiser(prior, rate=1e-3)
    before, known = error(prior, x), [p.clone() for p in prior.parameters()]
    for step in range(60):
        denoiser.learn(x, SIGMA, torch.Generator().manual_seed(step))
    assert error(denoiser, x) < 0.3 * before
    assert error(prior, x) == before
    assert all(torch.equal(p, q) for p, q in zip(prior.parameters(), known, strict=True))
    assert not any(p.requires_grad for p in prior.parameters())
    assert_close(gradient(vsd(prior, denoiser, w=lambda s: s), x), _difference(prior, denoiser, x))


def _difference(prior, denoiser, x):
    """sigma (eps_hat - eps_phi) of a batch is D_phi - D, over b."""
    noised = x + SIGMA * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    sigma = torch.full((len(x),), SIGMA)
    return (denoiser.denoise(noised, sigma) - prior.denoise(noised, sigma)) / len(x)


def test_no_gradient_goes_to_the_renders(prior):
    x = torch.randn(2, 1, 8, 8, requires_grad=True)
    with torch.no_grad():
        RenderDenoiser(prior).learn(x, SIGMA)
    assert x.grad is None


def test_state_is_all_that_a_step_changes(prior, tmp_path):
    x, one, other = torch.randn(2, 1, 8, 8), RenderDenoiser(prior), RenderDenoiser(prior)
    for step in range(3):
        one.learn(x, SIGMA, torch.Generator().manual_seed(step))
    torch.save(one.state_dict(), tmp_path / "p.pt")
    other.load_state_dict(torch.load(tmp_path / "p.pt", weights_only=True))
    for denoiser in (one, other):
        denoiser.learn(x, SIGMA, torch.Generator().manual_seed(3))
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.usefixtures("as_user")
def test_a_prior_that_cannot_be_trained_is_named():
    with pytest.raises(ValueError, match="copy of a NetworkPrior, but got a GaussianFieldPrior"):
        RenderDenoiser(GaussianFieldPrior(size=8, channels=("gray",)))  # pyright: ignore[reportArgumentType]


def test_names_share_one_weight(prior):
    """With the same weight of the score each is the published one, times sigma where that has eps."""
    x, denoiser = torch.randn(2, 1, 8, 8), RenderDenoiser(prior)
    denoiser.learn(x, SIGMA)
    published = {
        "direct": direct(prior, w=lambda s: s),
        "sds": sds(prior, w=1.0),
        "sjc-unreduced": sjc(prior, variance_reduction=False),
        "sdi": sdi(prior),
        "vsd": vsd(prior, denoiser, w=1.0),
    }
    for name, loss in published.items():
        named = by_name(name, prior, w=lambda s: s, render_denoiser=denoiser)
        assert_close(gradient(named, x), gradient(loss, x))


def test_particles_is_the_deprecated_name_of_the_denoiser(prior):
    assert Particles is RenderDenoiser
    denoiser = RenderDenoiser(prior)
    for make in (lambda **given: vsd(prior, **given), lambda **given: by_name("vsd", prior, **given)):
        with pytest.warns(DeprecationWarning, match="`particles` is deprecated: it is called `render_denoiser` now"):
            assert make(particles=denoiser).control is denoiser
        with pytest.raises(ValueError, match="both `render_denoiser` and `particles`"):
            make(particles=denoiser, render_denoiser=denoiser)


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(
    ("name", "says"), [("SDS", "No estimator is called 'SDS'"), ("vsd", "needs `render_denoiser`")]
)
def test_names_that_cannot_be(name, says, prior):
    with pytest.raises(ValueError, match=says):
        by_name(name, prior)
