"""`as_deepinv`: a gradient, noise levels outside the card's range, and DeepInverse's samplers where it is installed."""

import dataclasses
import functools

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from scorereg import GaussianFieldPrior, PriorCard, TiledPrior, as_deepinv, load_prior, sample_posterior, wrap
from scorereg.priors import NetworkPrior, build_network
from scorereg.priors.outside import denoise_clamped, with_graph, without_graph

FIELD = GaussianFieldPrior(size=8, channels=("gray",))
U = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def network(channels=("gray",), side=8):
    torch.manual_seed(0)
    card = PriorCard("net", channels, (side, side), 0.01, 5.0, depth=None)
    prior = NetworkPrior(build_network("tiny", patch_size=side, channels=len(channels), patchify=1), card).eval()
    for values in prior.parameters():  # the last layer of an untrained network is 0
        nn.init.normal_(values, std=0.1)
    return prior.requires_grad_(False)


@pytest.mark.parametrize("prior", [FIELD, network(), TiledPrior(network(side=4), 4)], ids=["field", "network", "tiled"])
def test_the_gradient_is_that_of_finite_differences(prior):
    denoiser = as_deepinv(prior)
    u, direction = (
        U.double() if prior is FIELD else U.clone(),
        torch.randn(U.shape, generator=torch.Generator().manual_seed(1)),
    )
    u.requires_grad_()
    seen = torch.randn(U.shape, generator=torch.Generator().manual_seed(2))
    grad = torch.autograd.grad((denoiser(u, 0.1) * seen).sum(), u)[0]
    h = 1e-2
    with torch.no_grad():
        change = ((denoiser(u + h * direction, 0.1) - denoiser(u - h * direction, 0.1)) * seen).sum() / (2 * h)
    assert_close((grad * direction).sum(), change, rtol=2e-2, atol=1e-3)
    pulled = torch.func.vjp(lambda v: denoiser(v, 0.1), u.detach())[1](seen.to(u))[0]
    assert_close(pulled, grad)
    with torch.no_grad():
        assert not denoiser(u, 0.1).requires_grad


def test_weights_have_gradients_for_training_losses_and_only_here():
    prior = network().requires_grad_()
    as_deepinv(prior)(U, 0.1).square().sum().backward()
    assert all(values.grad is not None for values in prior.parameters())
    assert not prior.denoise(2 * U - 1, torch.tensor([0.1, 0.1])).requires_grad


def test_levels_outside_the_range_are_clamped_or_refused():
    prior = network()
    denoiser = as_deepinv(prior)
    high, low = torch.tensor([5.0, 5.0]), torch.tensor([0.01, 0.01])
    x = 2 * U - 1
    assert_close(denoiser(U, 50.0), (prior.denoise(x * 0.05, high) + 1) / 2)  # sigma is 100 in [-1, 1]
    assert_close(denoiser(U, 0.001), (x - 0.04 * (x - prior.denoise(x, low)) + 1) / 2)
    assert_close(denoiser(U, 0.0), U)
    each = denoiser(U, torch.tensor([0.1, 50.0]))
    assert_close(each, torch.cat([denoiser(U[:1], 0.1), denoiser(U[1:], 50.0)]), rtol=1e-4, atol=1e-5)
    for level in (50.0, 0.001):
        with pytest.raises(ValueError, match=r"trained for sigma from 0\.01 to 5"):
            as_deepinv(prior, outside="raise")(U, level)
    with pytest.raises(ValueError, match="finite noise levels >= 0"):
        denoise_clamped(prior, x, torch.tensor([0.1, -0.1]))
    assert as_deepinv(FIELD)(U, 1e3).isfinite().all(), "a prior without a card has no range"


@pytest.mark.usefixtures("as_user")
def test_what_is_no_prior_of_images_is_refused_at_once():
    latent = network()
    latent.transform = nn.Identity()
    with pytest.raises(ValueError, match=r"over latents.*prior\.transform\.inverse"):
        as_deepinv(latent)
    with pytest.raises(ValueError, match="outside is 'clamp' or 'raise'"):
        as_deepinv(FIELD, outside="error")
    with pytest.raises(ValueError, match="but got the class GaussianFieldPrior"):
        as_deepinv(GaussianFieldPrior)
    for sigma, shown in ((None, "None"), (torch.ones(3), r"shape \(3,\)"), ("0.1", "'0.1'")):
        with pytest.raises(ValueError, match=f"one noise level, or one for each of 2 images, but got {shown}"):
            as_deepinv(FIELD)(U, sigma)


def test_the_range_of_the_card_is_met():
    """A prior whose own space is [0, 1] is given u as it is."""
    prior = network()
    prior.card = dataclasses.replace(prior.card, range=(0.0, 1.0))
    assert_close(as_deepinv(prior)(U, 0.1), prior.denoise(U, torch.tensor([0.1, 0.1])))


def test_graphs_are_built_on_request_alone():
    class Own:
        @without_graph
        def denoise(self, x):
            return 2 * x

    x = torch.ones(1, requires_grad=True)
    assert not Own().denoise(x).requires_grad
    with with_graph():
        assert Own().denoise(x).requires_grad
        with with_graph():
            pass
        assert Own().denoise(x).requires_grad, "an inner block does not end the outer one"
    assert not Own().denoise(x).requires_grad


@pytest.fixture
def deepinv():
    return pytest.importorskip("deepinv")


def half_missing(deepinv):
    """Inpainting of half of the pixels."""
    mask = (torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    return deepinv.physics.Inpainting(mask=mask, img_size=(1, 8, 8), noise_model=deepinv.physics.GaussianNoise(0.05))


@pytest.mark.filterwarnings("ignore")  # deepinv's own, and those of what it imports
@pytest.mark.parametrize("prior", [FIELD, network(), TiledPrior(network(side=4), 4)], ids=["field", "network", "tiled"])
def test_methods_of_deepinv_run(deepinv, prior):
    """Its samplers pass through levels from 0 to 150, so beyond every card."""
    denoiser, fidelity = as_deepinv(prior), deepinv.optim.L2()
    physics = half_missing(deepinv)
    y = physics(U)

    def diffusion(guide):
        solver = deepinv.sampling.DDPMSolver(timesteps=torch.linspace(1, 0, 6, dtype=torch.float64))
        sde = deepinv.sampling.VariancePreservingDiffusion()
        return deepinv.sampling.PosteriorDiffusion(data_fidelity=guide, denoiser=denoiser, sde=sde, solver=solver)

    def descent(kind, prior, **settings):
        return deepinv.optim.optim_builder(
            kind, prior=prior, data_fidelity=fidelity, max_iter=3, params_algo={"g_param": 0.05, **settings}
        )

    for model in (
        deepinv.sampling.DPS(denoiser, num_steps=6),
        deepinv.sampling.DiffPIR(denoiser, fidelity, sigma=0.05, max_iter=6),
        diffusion(deepinv.sampling.PiGDMDataFidelity(denoiser=denoiser)),
        descent("PGD", deepinv.optim.PnP(denoiser), stepsize=1.0),
        descent("GD", deepinv.optim.RED(denoiser), stepsize=0.5, **{"lambda": 0.1}),
    ):
        assert model(y, physics).isfinite().all()


@pytest.mark.filterwarnings("ignore")
def test_training_losses_of_deepinv_reach_the_weights(deepinv):
    prior = network().requires_grad_()
    model = deepinv.models.ArtifactRemoval(as_deepinv(prior))
    physics = deepinv.physics.Denoising(deepinv.physics.GaussianNoise(0.1))
    y = physics(U)
    for loss in (deepinv.loss.SupLoss(), deepinv.loss.SureGaussianLoss(sigma=0.1)):
        prior.zero_grad()
        loss(x_net=model(y, physics), x=U, y=y, physics=physics, model=model).mean().backward()
        assert sum(values.grad.abs().sum() for values in prior.parameters()) > 0


@pytest.mark.filterwarnings("ignore")
def test_dps_and_diffpir_draw_what_deepinv_draws(deepinv):
    """One formula, one seed, and its own noise levels: the same images up to rounding."""
    field = GaussianFieldPrior(size=8, channels=("gray",), std=0.2)
    denoiser = as_deepinv(field)
    physics = half_missing(deepinv)
    y = physics(0.5 + 0.1 * torch.randn(U.shape, generator=torch.Generator().manual_seed(1)))
    settings = {"noise": 0.05, "data_range": (0, 1), "size": (8, 8), "show": False, "seed": 3}

    steps = torch.linspace(1, 0, 12, dtype=torch.float64)
    sde = deepinv.sampling.VariancePreservingDiffusion()
    solver = deepinv.sampling.DDPMSolver(timesteps=steps, rng=torch.Generator())
    guide = deepinv.sampling.DPSDataFidelity(denoiser=denoiser, weight=1.0)
    model = deepinv.sampling.PosteriorDiffusion(data_fidelity=guide, denoiser=denoiser, sde=sde, solver=solver)
    theirs = model(y.double(), physics, seed=3)
    levels = torch.stack([torch.as_tensor(sde.sigma_t(step)) for step in steps])
    ours = sample_posterior(physics.A, y.double(), field, method="dps", levels=levels, **settings)
    assert_close(ours.images[0], theirs, rtol=1e-3, atol=1e-3)

    model = deepinv.sampling.DiffPIR(denoiser, deepinv.optim.L2(), sigma=0.05, max_iter=12, lambda_=7.0, zeta=0.3)
    theirs = model(y, physics, seed=3)
    levels = model.sigmas[model.seq.long()].double()
    kept = model.sqrt_alphas_cumprod[0].item()  # theirs ends in the variance-preserving state of the last level
    start = physics.A_adjoint(y)
    ours = sample_posterior(
        physics.A, y, field, method="diffpir", levels=levels, weight=3.5, zeta=0.3, clip=1.0, start=start, **settings
    )
    assert_close(2 * ours.images[0] - 1, (2 * theirs - 1) / kept, rtol=1e-2, atol=1e-2)


@pytest.mark.filterwarnings("ignore")
def test_a_denoiser_of_deepinv_keeps_its_range(deepinv):
    denoiser = deepinv.models.DRUNet(in_channels=3, out_channels=3, nc=(4, 4, 4, 4), nb=1, pretrained=None)
    prior = load_prior(denoiser, channels=("r", "g", "b"))
    u = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert_close(as_deepinv(prior)(u, 0.1), denoiser(u, 0.1), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("as_user")
def test_images_in_another_range():
    for image, found in (
        ((U * 255).byte(), "torch.uint8. Give x.float"),
        (U.numpy(), "a ndarray"),
        (U > 0, "torch.bool"),
    ):
        with pytest.raises(ValueError, match=f"needs images of floats in .*, but got {found}"):
            as_deepinv(FIELD)(image, 0.1)
    for image, sigma in ((255 * U, 0.1), (255 * U, 25.0), (2 * U - 1, 0.02)):
        denoiser = as_deepinv(FIELD)
        with pytest.warns(UserWarning, match="takes images in .* more than its noise explains. Scale them: x / 255"):
            denoiser(image, sigma)
        denoiser(image, sigma)  # once
    generator = torch.Generator().manual_seed(0)
    for sigma in (0.05, 1.0, 30.0):
        as_deepinv(FIELD)(U + sigma * torch.randn(U.shape, generator=generator), sigma)


@pytest.mark.parametrize("bound", [lambda d: d, lambda d: d.forward, functools.partial, nn.DataParallel])
def test_a_denoiser_of_deepinv_is_not_taken_for_one_of_another_range(bound):
    class Denoiser(nn.Module):
        def forward(self, x, sigma):
            return x

    Denoiser.__module__ = "deepinv.models.base"
    given = {"prediction": "denoised", "channels": ("gray",)}
    with pytest.raises(ValueError, match=r"wrap got a Denoiser of deepinv, whose images are in \[0, 1\]"):
        wrap(bound(Denoiser()), **given)
    assert wrap(bound(Denoiser()), **given, data_range=(0, 1)).middle == 0.5
