"""Models in memory: read through to the module inside, and known by their class."""

import functools
import sys
import types
from types import SimpleNamespace

import diffusers
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from scorereg import GaussianFieldPrior, as_deepinv, load_prior, wrap
from scorereg.priors import linear_betas
from scorereg.priors.adapters.diffusers import from_diffusers
from scorereg.priors.adapters.unwrapped import inner_module
from tests.priors.test_priors_diffusers import tiny

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # of torch.compile's own imports
X, SIGMA = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([0.1, 2.0])
WRAPPERS = {
    "compiled": torch.compile,
    "parallel": nn.DataParallel,
    "averaged": torch.optim.swa_utils.AveragedModel,
    "several": lambda network: nn.DataParallel(torch.compile(nn.DataParallel(network))),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrapped_networks_of_a_pipeline(wrapper):
    scheduler, expected = diffusers.DDPMScheduler(), from_diffusers(tiny(), diffusers.DDPMScheduler(), name="x")
    wrapped = WRAPPERS[wrapper](tiny())
    for prior in (
        load_prior(SimpleNamespace(unet=wrapped, scheduler=scheduler)),
        from_diffusers(wrapped, scheduler, name="x"),
    ):
        assert_close(prior.denoise(X, SIGMA), expected.denoise(X, SIGMA))
        assert type(prior.network).__name__ == "UNet2DModel"


def test_a_wrapped_network_alone_does_not_say_its_noise():
    for wrapped in (torch.compile(tiny()), nn.DataParallel(tiny())):
        with pytest.raises(ValueError, match="load_prior got a UNet2DModel, which does not say how its noise is made"):
            load_prior(wrapped, channels=("r", "g", "b"))


def test_layers_and_classes_are_no_denoisers():
    with pytest.raises(ValueError, match="got the class Linear. Give an object of it"):
        load_prior(nn.Linear, channels=("r", "g", "b"))
    for source in (nn.Conv2d(3, 3, 1), nn.Sequential(nn.Identity())):
        with pytest.raises(ValueError, match="which does not say how its noise is made"):
            load_prior(source, channels=("r", "g", "b"))


class Halving(nn.Module):
    """A denoiser whose answer is half of what it is given."""

    def forward(self, x, sigma):
        return x / 2


def test_a_denoiser_inside_data_parallel():
    prior = load_prior(nn.DataParallel(Halving()), channels=("r", "g", "b"))
    assert_close(prior.denoise(X, SIGMA), X / 2)
    assert any(line.startswith("data in [-1, 1]") for line in prior.card.assumed)
    assert isinstance(inner_module(nn.DataParallel(Halving())), Halving)
    unit = load_prior(Halving(), channels=("r", "g", "b"), data_range=(0, 1))
    assert_close(unit.denoise(X, SIGMA), 2 * ((X + 1) / 2 / 2) - 1)


@pytest.fixture
def deepinv_models(monkeypatch):
    """A stand-in for the classes of deepinv, by the names of their modules."""
    base = type("Denoiser", (nn.Module,), {"__module__": "deepinv.models.base"})
    other = type("Reconstructor", (nn.Module,), {"__module__": "deepinv.models.base"})
    net = type("DRUNet", (Halving, base), {"__module__": "deepinv.models.drunet", "in_channels": 3})
    monkeypatch.setitem(sys.modules, "deepinv", None)  # it is not imported
    return SimpleNamespace(DRUNet=net, Reconstructor=other, Own=type("Own", (net,), {"__module__": "mine"}))


def test_denoisers_of_deepinv_are_in_0_1(deepinv_models):
    clean = 2 * ((X + 1) / 2 / 2) - 1
    for denoiser in (deepinv_models.DRUNet(), nn.DataParallel(deepinv_models.DRUNet()), deepinv_models.Own()):
        prior = load_prior(denoiser)
        assert prior.channels == ("r", "g", "b")
        assert_close(prior.denoise(X, SIGMA), clean)
        assert not any("data in" in line for line in prior.card.assumed)
    assert load_prior(deepinv_models.DRUNet(), channels=("a", "b", "c"), size=(8, 8)).card.size == (8, 8)
    with pytest.raises(ValueError, match=r"data_range=\(-1, 1\) means nothing for a deepinv DRUNet"):
        load_prior(deepinv_models.DRUNet(), data_range=(-1, 1))
    with pytest.raises(ValueError, match="a Reconstructor of deepinv is no Denoiser"):
        load_prior(deepinv_models.Reconstructor())


def test_a_denoiser_of_the_installed_deepinv():
    deepinv = pytest.importorskip("deepinv")
    torch.manual_seed(0)
    denoiser = deepinv.models.DRUNet(in_channels=3, out_channels=3, pretrained=None)
    prior = load_prior(denoiser, channels=("r", "g", "b"))
    x, sigma = torch.randn(1, 3, 32, 32), torch.tensor([0.2])
    with torch.no_grad():
        assert_close(prior.denoise(x, sigma), 2 * denoiser((x + 1) / 2, sigma / 2) - 1, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("as_user")
def test_what_as_deepinv_takes():
    prior = GaussianFieldPrior(size=8, channels=("gray",))
    assert load_prior(as_deepinv(prior)) is prior, "and not a denoiser of data in [-1, 1]"
    for wrong, says in (("rooms-rgbd-24", "the name 'rooms-rgbd-24'"), (3, "a int"), (nn.Linear(1, 1), "a Linear")):
        with pytest.raises(ValueError, match=rf"as_deepinv needs a prior, .* but got {says}.*load_prior\("):
            as_deepinv(wrong)


class Unet(nn.Module):
    """Stands in for the network of denoising-diffusion-pytorch."""

    channels, self_condition, downsample_factor = 3, False, 4

    def forward(self, x, time, x_self_cond=None):
        return 0.3 * x + 0.001 * time[:, None, None, None]


def diffusion(objective, *, normalize=True):
    """Stands in for its GaussianDiffusion."""
    made = type(
        "GaussianDiffusion", (nn.Module,), {"__module__": "denoising_diffusion_pytorch.denoising_diffusion_pytorch"}
    )()
    made.model, made.objective, made.image_size = Unet(), objective, (8, 8)
    made.betas = torch.linspace(1e-4, 0.02, 50)
    made.normalize = (lambda x: 2 * x - 1) if normalize else (lambda x: x)
    return made


@pytest.mark.parametrize(
    ("objective", "ours"), [("pred_noise", "epsilon"), ("pred_x0", "sample"), ("pred_v", "v_prediction")]
)
@pytest.mark.parametrize("normalize", [True, False])
def test_a_diffusion_says_what_it_predicts_and_the_range_of_its_data(objective, ours, normalize):
    prior = load_prior(diffusion(objective, normalize=normalize))
    assert (prior.prediction, prior.channels, prior.card.size) == (ours, ("r", "g", "b"), (8, 8))
    kept = (1 - torch.linspace(1e-4, 0.02, 50, dtype=torch.float64)).cumprod(0)[20].float()
    a, b = kept.sqrt(), (1 - kept).sqrt()
    low, unit = (-1, 1) if normalize else (0, 0.5)
    x = low + unit * (X + 1)
    out = 0.3 * a * x + 0.02
    clean = {"pred_noise": x - b / a * out, "pred_x0": out, "pred_v": a * a * x - b * out}[objective]
    assert_close(prior.denoise(X, (b / a / unit).expand(2)), (clean - low) / unit - 1, rtol=1e-4, atol=1e-4)


def test_data_from_0_is_said():
    assert any("[0, 1]" in line for line in load_prior(diffusion("pred_v", normalize=False)).card.assumed)
    for prior in (load_prior(diffusion("pred_v")), load_prior(diffusion("pred_v", normalize=False), data_range=(0, 1))):
        assert not any("[0, 1]" in line for line in prior.card.assumed)


def test_a_learned_variance_goes_with_the_noise():
    made = diffusion("pred_v")
    type(made).__name__ = "LearnedGaussianDiffusion"
    assert load_prior(made).prediction == "epsilon"
    type(made).__name__ = "WeightedObjectiveGaussianDiffusion"
    with pytest.raises(ValueError, match="got a WeightedObjectiveGaussianDiffusion .* takes its GaussianDiffusion"):
        load_prior(made)


class Timed(Unet):
    """A network whose layer takes the time in float32, as the package's embedding does."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 3)

    def forward(self, x, time, x_self_cond=None):
        return x * self.layer(time[:, None])[:, :, None, None]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_diffusion_in_half_precision_is_copied(dtype):
    made, expected = diffusion("pred_noise"), diffusion("pred_noise")
    made.model, expected.model = Timed().to(dtype), Timed()
    prior = load_prior(made)
    assert made.model.layer.weight.dtype is dtype, "the caller's network stays as it was"
    expected.model.load_state_dict({name: value.float() for name, value in made.model.state_dict().items()})
    assert_close(prior.denoise(X, SIGMA / 4), load_prior(expected).denoise(X, SIGMA / 4))


def test_weights_that_are_not_loaded():
    made = diffusion("pred_noise")
    made.model = Timed().to("meta")
    pipeline = SimpleNamespace(unet=tiny().to("meta"), scheduler=diffusers.DDPMScheduler())
    denoiser = Halving()
    denoiser.weight = nn.Parameter(torch.zeros(1, device="meta"))
    for source, given in ((made, {}), (pipeline, {}), (denoiser, {"channels": ("r", "g", "b")})):
        with pytest.raises(ValueError, match="are not loaded: it is on the device meta"):
            load_prior(source, **given)


def test_labels_of_edm():
    network = Halving()
    network.img_channels, network.label_dim = 3, 0
    assert load_prior(network).channels == ("r", "g", "b")
    network.label_dim = 10
    with pytest.raises(ValueError, match=r"conditioned on 10 labels. Choose one: .*class_labels="):
        load_prior(network)


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"size": 16}, r"size must be the sides of a patch in pixels, like \(48, 48\), but got 16"),
        ({"size": (16, 0)}, "size must be"),
        ({"d_min": -1.0}, "d_min is a depth in metres and must be > 0, but got -1.0"),
        ({"d_min": float("nan")}, "d_min is a depth"),
        ({"channels": 3}, "channels must be names, each once"),
        ({"channels": "rgb"}, "channels must be names, each once"),
        ({"channels": ("r", "g", "r")}, "channels must be names, each once"),
    ],
)
def test_values_that_cannot_be(given, says):
    with pytest.raises(ValueError, match=says):
        load_prior(SimpleNamespace(unet=tiny(), scheduler=diffusers.DDPMScheduler()), **given)


def test_other_objects_of_the_package():
    for source in (Unet, diffusion("pred_other")):
        made = (
            source
            if isinstance(source, nn.Module)
            else type("Unet", (Unet,), {"__module__": "denoising_diffusion_pytorch"})()
        )
        with pytest.raises(ValueError, match="of denoising-diffusion-pytorch, and takes its GaussianDiffusion"):
            load_prior(made)


def test_a_diffusion_of_the_installed_package():
    package = pytest.importorskip("denoising_diffusion_pytorch")
    unet = package.Unet(dim=8, dim_mults=(1, 2), channels=3)
    made = package.GaussianDiffusion(unet, image_size=16, timesteps=50, objective="pred_v").eval()
    prior = load_prior(made)
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([20, 20])
    kept = made.alphas_cumprod[20].double()
    with torch.no_grad():
        exact = made.model_predictions((kept.sqrt() * x).float(), t).pred_x_start
    assert_close(prior.denoise(x, ((1 - kept) / kept).sqrt().float().expand(2)), exact, rtol=1e-4, atol=1e-4)


def test_a_module_that_is_not_there_changes_nothing():
    assert inner_module(types.SimpleNamespace(module=3)).module == 3


class _Held:
    def __init__(self, network):
        self.network = network

    def __call__(self, z, t):
        return self.network(z, t)

    def method(self, z, t):
        return self.network(z, t)


EMPTY = Timed().to("meta")
HOLDERS = {
    "module": lambda m: m,
    "closure": lambda m: lambda z, t: m(z, t),
    "global": lambda m: lambda z, t: EMPTY(z, t),
    "default": lambda m: lambda z, t, inner=m: inner(z, t),
    "list": lambda m: lambda z, t, inner=[m]: inner[0](z, t),
    "partial": lambda m: functools.partial(m),
    "bound": lambda m: functools.partial(lambda z, t, net: net(z, t), net=m),
    "object": _Held,
    "method": lambda m: _Held(m).method,
}


@pytest.mark.parametrize("holder", HOLDERS.values(), ids=list(HOLDERS))
def test_weights_that_are_not_loaded_are_found_in_what_is_wrapped(holder):
    settings = {"prediction": "denoised", "channels": ("r", "g", "b")}
    with pytest.raises(ValueError, match="weights of Timed are not loaded: it is on the device meta"):
        wrap(holder(EMPTY), **settings)
    if holder is not HOLDERS["global"]:
        assert wrap(holder(Timed()), **settings).denoise(X, SIGMA).isfinite().all()


def test_patches_without_values():
    prior = wrap(lambda z, t: z, prediction="denoised", channels=("r", "g", "b"))
    for x, sigma, what in ((X.to("meta"), SIGMA, "a patch"), (X, SIGMA.to("meta"), "a sigma")):
        with pytest.raises(ValueError, match=f"needs values, but got {what} on the device meta"):
            prior.denoise(x, sigma)


def test_a_unet_whose_noise_the_caller_says():
    unet = tiny()
    prior = load_prior(unet, betas=linear_betas(), prediction="epsilon", size=(8, 8))
    assert_close(prior.denoise(X, SIGMA), from_diffusers(unet, diffusers.DDPMScheduler()).denoise(X, SIGMA))
    assert (prior.card.name, prior.card.size, prior.multiple) == ("UNet2DModel", (8, 8), 2)
    with pytest.raises(ValueError, match="from_diffusers"):
        load_prior(unet, betas=linear_betas())
    with pytest.raises(ValueError, match="guidance=3.0 means nothing"):
        load_prior(unet, betas=linear_betas(), prediction="epsilon", guidance=3.0)


@pytest.mark.parametrize("name", ["t", "timestep", "timesteps"])
def test_a_network_that_takes_a_time_is_no_denoiser(name):
    space = {}
    exec(f"def network(x, {name}):\n    return x", space)
    with pytest.raises(ValueError, match=rf"takes '{name}', a time .*scorereg\.wrap\(network"):
        load_prior(space["network"], channels=("r", "g", "b"))


def test_noise_that_is_told_belongs_to_wrap():
    with pytest.raises(ValueError, match=r"comes with prediction and betas, .*scorereg\.wrap\(network"):
        load_prior(lambda x, sigma: x, channels=("r",), prediction="epsilon", betas=torch.linspace(1e-4, 0.02, 10))
