"""What is given in place of a network, a scheduler, an argument or a table: one line with the call that is meant."""

import types
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from diffusers.training_utils import EMAModel
from torch import nn

from scorereg import (
    GaussianFieldPrior,
    ProductPrior,
    ScoreLoss,
    TemperedPrior,
    TiledPrior,
    as_deepinv,
    load_prior,
    wrap,
)
from scorereg.priors import ChannelPrior, MarginalPrior, cosine_betas, from_diffusers, linear_betas
from tests.priors.test_priors_diffusers import tiny

RGB = ("r", "g", "b")
KEPT = (1 - linear_betas()).cumprod(0)
FIELD = GaussianFieldPrior(8, RGB)


def plain(z, t):
    return z / 2


def given(network=plain, **settings):
    return wrap(network, **({"prediction": "epsilon", "channels": RGB, "betas": linear_betas()} | settings))


def refused(call, says, kind: type[Exception] = ValueError):
    with pytest.raises(kind, match=says) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


class Blind(nn.Module):
    """A denoiser that is not given a level."""

    def forward(self, x):
        return x


class Labelled(nn.Module):
    """A network that needs a class."""

    def forward(self, z, t, y):
        return z


class Elsewhere(nn.Module):
    """A network whose time is not its second argument."""

    def forward(self, hidden_states, encoder_hidden_states=None, timestep=None):
        return hidden_states


def averages():
    return EMAModel(tiny().parameters())


NETWORKS = {
    "nothing": (lambda: None, "got None. Give the network"),
    "name": (lambda: "folder/x", r"got the name 'folder/x'. Files, folders and hub ids are read by load_prior"),
    "path": (lambda: Path("folder/x"), r"load_prior\('folder/x'\)"),
    "class": (lambda: nn.Linear, "got the class Linear. Give an object of it"),
    "weights": (lambda: tiny().state_dict(), "of weights without their network. Fill it, network.load_state_dict"),
    "pipeline": (lambda: diffusers.DDPMPipeline(tiny(), diffusers.DDPMScheduler()), r"Give it to load_prior\(pipe"),
    "scheduler": (lambda: diffusers.DDPMScheduler(), "which is a scheduler; the network comes first"),
    "averages": (averages, r"which holds averaged weights and no network. .*ema.copy_to\(unet.parameters\(\)\)"),
    "tensor": (lambda: torch.zeros(3), "got a tensor. Give the network itself"),
    "number": (lambda: 3, "got a int, which cannot be called"),
    "pair": (lambda: (tiny(), diffusers.DDPMScheduler()), "Give them to scorereg.priors.from_diffusers"),
    "priors": (lambda: [FIELD, FIELD], r"Multiply them: ProductPrior\(priors\)"),
}


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize("which", NETWORKS)
def test_no_network(which):
    make, says = NETWORKS[which]
    refused(lambda: given(make()), says)
    if which not in ("name", "path", "pipeline"):  # what load_prior reads
        refused(lambda: load_prior(make(), channels=RGB), says)
    if which not in ("priors", "pair"):
        refused(lambda: from_diffusers(make(), diffusers.DDPMScheduler()), says)


@pytest.mark.usefixtures("as_user")
def test_other_objects_of_a_pair():
    unet, scheduler = tiny(), diffusers.DDPMScheduler()
    refused(lambda: load_prior(unet, scheduler), r"got a UNet2DModel and a DDPMScheduler. .*from_diffusers\(unet, sch")  # pyright: ignore[reportArgumentType]
    refused(lambda: load_prior(scheduler, unet), "from_diffusers")  # pyright: ignore[reportArgumentType]
    refused(lambda: from_diffusers(unet), "a scheduler is needed, .* got None")
    refused(lambda: given(FIELD), "which is a prior already")
    refused(lambda: load_prior(types.SimpleNamespace(unet=averages(), scheduler=scheduler)), "holds .*ema.copy_to")
    assert from_diffusers(unet, scheduler).card.name == "UNet2DModel"


@pytest.mark.usefixtures("as_user")
def test_what_the_network_is_called_with():
    refused(lambda: given(lambda z: z), r"takes one argument. If it denoises without a level: wrap\(lambda z, t: netw")
    refused(lambda: given(Blind()), "but Blind takes one argument")
    refused(lambda: load_prior(Blind(), channels=RGB), "but Blind takes one argument")
    refused(lambda: given(Labelled()), r"Labelled needs y as well. Bind it: wrap\(lambda z, t: network\(z, t, y=...\)")
    refused(lambda: given(nn.Module()), "got a Module without a method forward")
    refused(lambda: given(lambda t, x: x), r"first argument of function is t. Turn them round: wrap\(lambda z, t: netw")
    refused(
        lambda: given(tiny(4)), "UNet2DModel takes 4 channels, but channels=.* names 3. If it is conditioned on an im"
    )
    refused(lambda: given(time=lambda i: 3).denoise(torch.zeros(1, 3, 8, 8), torch.ones(1)), "a value per sample, .1,.")
    refused(lambda: given(channels=("r", "", "b")), "must have names, but one of .* is empty")
    refused(lambda: given().denoise(np.zeros((1, 3, 8, 8)), torch.ones(1)), "needs a tensor, but got a ndarray")
    refused(lambda: given(Elsewhere()), "second argument of Elsewhere is encoder_hidden_states and its time is")
    refused(lambda: given(tiny(num_class_embeds=4)), "conditioned on a class. Bind one: .*class_labels=")
    refused(lambda: given(nn.DataParallel(Labelled())), "Labelled needs y as well")
    for good in (lambda z, t, y=None: z, lambda *all_of_them: all_of_them[0], torch.mul):
        given(good)


def test_objects_whose_call_is_something_else():
    place = {"__module__": "denoising_diffusion_pytorch.denoising_diffusion_pytorch", "forward": lambda self, x: x}
    diffusion = type("GaussianDiffusion", (nn.Module,), place)()
    diffusion.model, diffusion.betas = nn.Linear(1, 1), linear_betas()
    refused(lambda: given(diffusion), r"whose call is its loss in training. Give it to load_prior\(diffusion\)")
    denoiser = type("DRUNet", (Labelled,), {"__module__": "deepinv.models.drunet", "forward": lambda self, x, s: x})()
    refused(lambda: given(denoiser), r"whose images are in \[0, 1\]. Give it to load_prior\(denoiser\)")
    given(denoiser, data_range=(0, 1))


def test_networks_of_diffusers_that_are_conditioned():
    unet = diffusers.UNet2DConditionModel(
        sample_size=8, in_channels=3, out_channels=3, layers_per_block=1, block_out_channels=(8,), norm_num_groups=4,
        cross_attention_dim=8, attention_head_dim=2, down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",),
    ).eval()  # fmt: skip
    refused(lambda: given(unet), r"needs encoder_hidden_states as well. .*or, .*load_prior\(folder, prompt=")
    refused(lambda: from_diffusers(unet, diffusers.DDPMScheduler()), "conditioned on a text or image: give the folder")
    refused(
        lambda: from_diffusers(tiny(1, out_channels=3), diffusers.DDPMScheduler()), "returns 3, more than a denoiser"
    )
    refused(
        lambda: from_diffusers(tiny(3, out_channels=1), diffusers.DDPMScheduler()), "denoises 1 of them, .* image of 2"
    )


def test_a_learned_variance_is_said():
    says = "of twice as many channels out, the second half is a learned variance and left out"
    assert says in given(tiny(3, out_channels=6)).card.assumed
    assert says in from_diffusers(tiny(3, out_channels=6), diffusers.DDPMScheduler()).card.assumed
    assert says not in from_diffusers(tiny(), diffusers.DDPMScheduler()).card.assumed


def test_a_unet_out_of_a_pipeline_of_latents(tmp_path):
    vae = diffusers.VQModel(latent_channels=3, block_out_channels=(8,), norm_num_groups=4, num_vq_embeddings=8)
    diffusers.LDMPipeline(vqvae=vae, unet=tiny(), scheduler=diffusers.DDIMScheduler()).save_pretrained(tmp_path)  # pyright: ignore[reportArgumentType]
    unet = diffusers.UNet2DModel.from_pretrained(tmp_path, subfolder="unet")
    refused(lambda: from_diffusers(unet, diffusers.DDIMScheduler()), r"a pipeline of latents, .*load_prior\('")
    assert from_diffusers(unet, diffusers.DDIMScheduler(), channels=("a", "b", "c")).channels == ("a", "b", "c")


TABLES = [
    (
        {"alphas_cumprod": 1 - linear_betas()},
        "not cumulated: .* Give betas=1 - alphas, or alphas_cumprod=alphas",
    ),
    ({"alphas_cumprod": 1 - cosine_betas()}, "not cumulated"),
    ({"alphas_cumprod": KEPT.flip(0)}, r"is turned round, .* Give table.flip\(0\)"),
    ({"alphas_cumprod": 1 - KEPT}, r"or is 1 - alphas_cumprod"),
    ({"alphas_cumprod": KEPT.flip(0), "prediction": ""}, "is turned round"),
    ({"alphas_cumprod": linear_betas()}, "looks like betas"),
    ({"betas": KEPT}, "looks like alphas_cumprod"),
    ({"betas": (1e-4, 0.02)}, "two `betas` are a process of two steps, .* ends of a linear schedule"),
    ({"betas": 1 - linear_betas()}, "looks like alphas = 1 - betas"),
    ({"betas": "linear"}, r"got the text 'linear'. Give the table: betas=scorereg.priors.linear_betas\(\)"),
    ({"betas": "squaredcos_cap_v2"}, r"cosine_betas\(\)"),
    ({"betas": 1000}, r"got one, 1000. Give betas=scorereg.priors.linear_betas\(1000\)"),
    (
        {"betas": diffusers.DDPMScheduler()},
        r"got a DDPMScheduler. Give what it says: .*scheduler_settings\(",
    ),
    ({"betas": {"a": 1}}, "must be a list of numbers, but got a dict"),
    ({"alphas_cumprod": [1.2, 0.5]}, "must be a list of numbers from 0 to 1"),
    ({"betas": linear_betas()[None]}, "must be a list of numbers from 0 to 1"),
    ({"sigmas": [0.0]}, "no level of noise that is above 0"),
]


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(("settings", "says"), TABLES, ids=range(len(TABLES)))
def test_tables(settings, says):
    refused(lambda: given(**({"betas": None} | settings)), says)


def test_tables_that_are_right():
    for betas in (linear_betas(), cosine_betas(), linear_betas()[:50], cosine_betas(20), np.linspace(1e-4, 0.02, 9)):
        table = (1 - torch.as_tensor(betas)).cumprod(0)
        assert given(betas=None, alphas_cumprod=table).card.sigma_max == pytest.approx(
            given(betas=betas).card.sigma_max
        )
    with pytest.warns(UserWarning, match="`betas` fall, .* unlike any schedule"):
        given(betas=linear_betas().flip(0))
    assert any(
        "the last of its 100 steps leaves 90%" in line for line in given(betas=linear_betas()[:100]).card.assumed
    )
    assert not any("steps leaves" in line for line in given().card.assumed)


SETTINGS = [
    ({"prediction": "eps"}, "Give prediction='epsilon', the noise"),
    ({"prediction": "pred_x0"}, "Give prediction='sample'"),
    ({"prediction": "v"}, "Give prediction='v_prediction'"),
    ({"prediction": "flow_prediction"}, "Give prediction='velocity' with flow=True"),
    ({"prediction": "Epsilon"}, "Write prediction='epsilon'"),
    ({"prediction": ""}, "wrap needs what the network predicts: prediction='epsilon'"),
    ({"betas": None}, "prediction='epsilon' needs the noise of the training"),
    ({"betas": None, "prediction": "v_prediction"}, "needs the noise of the training.* or sigma_data=1"),
    ({"betas": None, "prediction": "edm"}, "Give sigma_data=0.5"),
    ({"betas": None, "prediction": "velocity"}, "Give flow=True"),
    ({"betas": None, "sigma_data": float("nan")}, "sigma_data is the standard deviation"),
    ({"betas": None, "sigma_data": "half"}, "sigma_data is the standard deviation"),
    ({"betas": None, "flow": "yes"}, "flow is True or False, but got 'yes'"),
    ({"channels": 3}, "channels must be names"),
    ({"channels": ()}, "needs the names of the network's channels"),
    ({"size": 32}, r"like \(48, 48\), but got 32"),
    ({"card": {"name": "x"}}, r"must be a PriorCard, but is a dict. .*PriorCard.load\(folder\)"),
    ({"card": load_prior("rooms-rgbd-24").card}, "channels are r, g, b, but the card of 'rooms-rgbd-24' has"),
    ({"dtype": "float16"}, "Give dtype=torch.float16"),
    ({"dtype": torch.int32}, "dtype must be one of torch's for floats"),
    ({"multiple": 0}, "1 or more as 8, but got 0"),
    ({"multiple": 8.0}, "but got 8.0"),
    ({"betas": None, "flow": True, "sigma_range": (80, 0.002)}, r"Exchange them: \(0.002, 80\)"),
    ({"betas": None, "flow": True, "sigma_range": (-1, 1)}, r"must be \(lowest, highest\) level, 0 or more"),
    ({"betas": None, "flow": True, "sigma_range": (0.1, float("nan"))}, "sigma_range must be"),
    ({"betas": None, "flow": True, "sigma_range": 80}, "sigma_range must be"),
    ({"time": 3}, "time is 'index', 'fraction', 'sigma' or a function"),
]


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(("settings", "says"), SETTINGS, ids=range(len(SETTINGS)))
def test_settings(settings, says):
    refused(lambda: given(**settings), says)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"sigma_min": 0.1}, r"wrap has no argument sigma_min. Give sigma_range=\(lowest, highest\)"),
        ({"prediction_type": "epsilon"}, "Did you mean prediction"),
        ({"scheduler": None}, r"Give \*\*scorereg.priors.scheduler_settings\(scheduler\)"),
        ({"beta": 1}, "Did you mean betas"),
        ({"xyz": 1}, "wrap has no argument xyz. It has network, prediction"),
    ],
)
def test_arguments_that_are_not_there(settings, says):
    refused(lambda: given(**settings), says, TypeError)
    refused(lambda: wrap(plain, "epsilon"), "takes network by place, and the rest by name", TypeError)  # pyright: ignore[reportCallIssue]


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ProductPrior(["a", "b"]), r"got the name 'a'. Load it: ProductPrior\(load_prior\('a'\)"),  # pyright: ignore
        (lambda: ProductPrior(FIELD), r"needs a list of priors, but got one prior. Write ProductPrior\(\[prior"),  # pyright: ignore
        (lambda: ProductPrior([FIELD], 0.5), "the weights of a product are a list"),  # pyright: ignore
        (lambda: ProductPrior([FIELD], ["a"]), "a weight of a product must be a finite number, but is 'a'"),  # pyright: ignore
        (lambda: ProductPrior([nn.Linear(1, 1)]), "got a Linear. Make a prior of a network"),  # pyright: ignore
        (lambda: TemperedPrior("a", 2), "TemperedPrior needs a prior"),  # pyright: ignore
        (lambda: TemperedPrior(FIELD, "2"), "a temperature must be a finite number above 0"),  # pyright: ignore
        (lambda: TiledPrior("a"), "TiledPrior needs a prior"),  # pyright: ignore
        (lambda: TiledPrior(FIELD, 8.5), "`size` of TiledPrior, .* must be a whole number"),  # pyright: ignore
        (lambda: TiledPrior(FIELD, 8, overlap=0.5), "`overlap` of TiledPrior"),  # pyright: ignore
        (lambda: TiledPrior(FIELD, 8, window=None), "a window is one of hann"),  # pyright: ignore
        (lambda: ChannelPrior(FIELD, "rgb"), r"needs the names of channels in a list, .* but got 'rgb'"),
        (lambda: MarginalPrior(FIELD, ()), "needs the names of channels in a list"),
        (lambda: MarginalPrior(FIELD, ("r",), rounds=1.5), "`rounds` of a marginal must be a whole number"),  # pyright: ignore
        (lambda: MarginalPrior(FIELD, ("r",), start=float("nan")), "`start` of a marginal"),
    ],
)
def test_parts_of_compositions(make, says):
    refused(make, says)


def test_tables_of_sigmas_that_may_be_something_else():
    """What falls like alphas_cumprod is refused; tables that end before all signal is gone are told."""
    for kept in (KEPT, (1 - cosine_betas()).cumprod(0), KEPT[::20], torch.cat([torch.ones(1), KEPT])):
        refused(lambda kept=kept: given(betas=None, sigmas=kept), "`sigmas` looks like alphas_cumprod: .*Give it as")
    for table in (torch.linspace(1, 0.01, 20), torch.logspace(0, -2, 50), [0.9, 0.5, 0.1]):
        assert any("leaves" in line for line in given(betas=None, sigmas=table).card.assumed)
    halves = {"sigmas": torch.logspace(-2, 1, 50), "betas": None}
    assert not any("leaves" in line for line in given(**halves).card.assumed)
    assert any(
        "leaves 29%" in line for line in given(betas=None, sigmas=[0.1, 200.0], data_range=(0, 255)).card.assumed
    )


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_tables_in_half_precision(kind):
    for name, table in (("alphas_cumprod", KEPT), ("sigmas", torch.linspace(49, 50, 1000))):
        refused(
            lambda name=name, table=table: given(betas=None, **{name: table.to(kind)}), "is of torch.*half precision"
        )
    refused(lambda: given(betas=None, alphas_cumprod=KEPT[5::50].to(kind)), "half precision")
    refused(
        lambda: given(betas=None, alphas_cumprod=KEPT.to(kind).float()), "equal the one before, as in half precision"
    )
    assert given(betas=None, alphas_cumprod=torch.tensor([0.9, 0.5, 0.1], dtype=kind)).card.sigma_max == pytest.approx(
        3, rel=1e-2
    )
    refused(
        lambda: given(betas=None, alphas_cumprod=[0.9, 0.5, 0.7]), "must rise or fall from entry to entry, got [^.]*"
    )


@pytest.mark.usefixtures("as_user")
def test_networks_and_denoisers_in_place_of_priors():
    network, denoiser = nn.Linear(1, 1), as_deepinv(FIELD)
    for make in (ScoreLoss, as_deepinv, TiledPrior):
        refused(lambda make=make: make(network), "got a Linear. Make a prior of a network: load_prior")
    refused(lambda: as_deepinv(denoiser), "got a denoiser that as_deepinv made already. Use it as it is")
    refused(lambda: ScoreLoss(denoiser), r"a _Denoiser, which holds one. Give that: ScoreLoss\(object.prior")
    refused(lambda: ProductPrior([denoiser]), "which holds one")
    refused(lambda: given(denoiser), "a denoiser that as_deepinv made of a prior. Use that: denoiser.prior")
    refused(lambda: ScoreLoss("rays-64"), r"the name 'rays-64'. Load it: ScoreLoss\(load_prior\('rays-64'\)")
