"""Models of diffusers as priors: sign and scale against closed forms and diffusers' own steps, files, and errors."""

import dataclasses
import inspect
import json
import math
import pickle
from types import SimpleNamespace

import diffusers
import pytest
import safetensors.torch
import torch
from diffusers.configuration_utils import FrozenDict
from torch import nn
from torch.testing import assert_close

from scorereg import NetworkPrior, PriorCard, load_prior, score
from scorereg.priors import wrap
from scorereg.priors.adapters.diffusers import from_diffusers
from scorereg.priors.adapters.schedulers import TABLES, scheduler_settings

MEAN, VARIANCE = 0.2, torch.tensor([0.05, 0.3, 0.6], dtype=torch.float64)[:, None, None]


class UNet2DModel(nn.Module):
    """Stands in for diffusers' class of this name: predicts perfectly for a Gaussian, from z and the time alone.

    Args:
        noise: From a time to (factor on x_0, factor on n) of what the network is fed.
        predict: From (a, b, x_0, n) to what the network returns.
    """

    def __init__(self, noise, predict):
        super().__init__()
        self.noise, self.predict = noise, predict
        self.weight = nn.Parameter(torch.zeros(()))
        self.config = FrozenDict({"in_channels": 3, "sample_size": 4, "class_embed_type": None})

    def forward(self, z, time):
        a, b = (c[:, None, None, None] for c in self.noise(time.double()))
        off = z.double() - a * MEAN
        power = a**2 * VARIANCE + b**2
        clean, n = MEAN + a * VARIANCE / power * off, b / power * off
        return SimpleNamespace(sample=self.predict(a, b, clean, n).to(z.dtype))


def check(unet, scheduler, sigmas, **settings):
    prior = load_prior(SimpleNamespace(unet=unet, scheduler=scheduler), **settings)
    assert prior.channels == ("r", "g", "b")
    sigma = torch.tensor(sigmas)
    x = MEAN + 0.5 * torch.randn(len(sigma), 3, 4, 4) + sigma[:, None, None, None] * torch.randn(len(sigma), 3, 4, 4)
    gradient = (MEAN - x.double()) / (VARIANCE + sigma[:, None, None, None].double() ** 2)
    x0 = x + sigma[:, None, None, None].double() ** 2 * gradient
    assert_close(prior.denoise(x, sigma).double(), x0, rtol=1e-5, atol=2e-5)
    if not any(name in str(unet.predict) for name in ("sample",)):
        assert ((score(prior, x, sigma) - gradient).abs() / gradient.abs().amax((1, 2, 3), keepdim=True)).max() < 2e-4
    return prior


KINDS = {
    "epsilon": lambda a, b, clean, n: n,
    "sample": lambda a, b, clean, n: clean,
    "v_prediction": lambda a, b, clean, n: a * n - b * clean,
}
SCHEDULES = {
    "linear": lambda: torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64),
    "scaled_linear": lambda: torch.linspace(0.01, 0.02**0.5, 1000, dtype=torch.float64) ** 2,
    "squaredcos_cap_v2": lambda: squared_cosine(1000),
    "trained": lambda: torch.linspace(3e-5, 0.04, 500, dtype=torch.float64),
}


def squared_cosine(steps):
    kept = torch.tensor([math.cos((i / steps + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(steps + 1)]).double()
    return (1 - kept[1:] / kept[:-1]).clamp(max=0.999)


def table(betas):
    """From a fractional index to a and b, log sigma linear between entries."""
    log = ((1 - betas).cumprod(0).reciprocal() - 1).log() / 2

    def noise(time):
        low = time.floor().long().clamp(0, len(log) - 2)
        sigma = torch.lerp(log[low], log[low + 1], time - low).exp()
        a = 1 / (1 + sigma**2).sqrt()
        return a, a * sigma

    return noise


@pytest.mark.parametrize("prediction", KINDS)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", ["DDPM", "DDIM", "PNDM", "EulerDiscrete", "UniPCMultistep"])
def test_tables_of_betas(name, schedule, prediction):
    betas = SCHEDULES[schedule]()
    given = {"trained_betas": betas.tolist()} if schedule == "trained" else {"beta_schedule": schedule}
    scheduler = getattr(diffusers, f"{name}Scheduler")(
        beta_start=1e-4, beta_end=0.02, prediction_type=prediction, num_train_timesteps=len(betas), **given
    )
    prior = check(UNet2DModel(table(betas), KINDS[prediction]), scheduler, [0.02, 0.1, 0.5, 3.0, 20.0])
    assert prior.card.size == (4, 4)
    levels = ((1 - betas).cumprod(0).reciprocal() - 1).sqrt()
    assert prior.card.sigma_min == pytest.approx(levels[0].item(), rel=1e-3)
    assert prior.card.sigma_max == pytest.approx(levels[-1].item(), rel=1e-3)


@pytest.mark.parametrize(("prediction", "sign"), [("epsilon", 1.0), ("v_prediction", -1.0)])
def test_edm_has_the_other_sign_for_v(prediction, sign):
    """diffusers: c_out is sigma s / sqrt(sigma^2 + s^2) for "epsilon", and minus that for "v_prediction"."""
    s = 0.4

    def noise(time):
        sigma = (4 * time).exp()
        return 1 / (sigma**2 + s**2).sqrt(), sigma / (sigma**2 + s**2).sqrt()

    def predict(a, b, clean, n):
        sigma = b / a
        skip, out = s**2 / (sigma**2 + s**2), sign * sigma * s / (sigma**2 + s**2).sqrt()
        return (clean - skip * (clean + sigma * n)) / out

    scheduler = diffusers.EDMEulerScheduler(prediction_type=prediction, sigma_data=s, sigma_min=0.004, sigma_max=60.0)
    prior = check(UNet2DModel(noise, predict), scheduler, [0.005, 0.1, 1.0, 20.0])
    with pytest.raises(ValueError, match=r"knows noise levels from 0\.004 to 60 .*got 0\.001"):
        prior.denoise(torch.zeros(1, 3, 4, 4), torch.tensor([0.001]))


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_matching(shift):
    """The shift moves where a sampler stops, not the network's time at a level."""
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    unet = UNet2DModel(lambda time: (1 - time / 1000, time / 1000), lambda a, b, clean, n: n - clean)
    check(unet, scheduler, [0.005, 0.1, 1.0, 20.0])


@pytest.mark.parametrize("kind", ["DPMSolverMultistepScheduler", "UniPCMultistepScheduler"])
def test_flow_matching_with_solvers(kind):
    scheduler = getattr(diffusers, kind)(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    unet = UNet2DModel(lambda time: (1 - time / 1000, time / 1000), lambda a, b, clean, n: n - clean)
    check(unet, scheduler, [0.005, 0.1, 1.0, 20.0])


def test_euler_with_continuous_time():
    unet = UNet2DModel(
        lambda time: (1 / (1 + (8 * time).exp()).sqrt(), (4 * time).exp() / (1 + (8 * time).exp()).sqrt()),
        KINDS["v_prediction"],
    )
    scheduler = diffusers.EulerDiscreteScheduler(
        timestep_type="continuous", prediction_type="v_prediction", sigma_min=0.002, sigma_max=700.0
    )
    check(unet, scheduler, [0.005, 0.1, 1.0, 20.0])


@pytest.mark.parametrize(
    "settings",
    [
        {"timestep_spacing": "trailing", "steps_offset": 1},
        {"clip_sample": True, "clip_sample_range": 0.1},
        {"thresholding": True},
        {"variance_type": "learned_range"},
    ],
    ids=str,
)
def test_what_concerns_sampling_changes_nothing(settings):
    scheduler = diffusers.DDPMScheduler(**settings)
    check(UNet2DModel(table(SCHEDULES["linear"]()), KINDS["epsilon"]), scheduler, [0.02, 0.5, 20.0])


@pytest.mark.parametrize("name", ["DDPM", "DDIM", "EulerDiscrete"])
def test_zero_terminal_snr_leaves_out_the_last_entry(name):
    """Rescaled as in arXiv 2305.08891, algorithm 1; the entry without signal has no finite sigma."""
    root = (1 - SCHEDULES["linear"]()).cumprod(0).sqrt()
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    kept = root[:-1] ** 2
    log = (1 / kept - 1).log() / 2

    def noise(time):
        low = time.floor().long().clamp(0, len(log) - 2)
        sigma = torch.lerp(log[low], log[low + 1], time - low).exp()
        return 1 / (1 + sigma**2).sqrt(), sigma / (1 + sigma**2).sqrt()

    scheduler = getattr(diffusers, f"{name}Scheduler")(rescale_betas_zero_snr=True, prediction_type="v_prediction")
    prior = check(UNet2DModel(noise, KINDS["v_prediction"]), scheduler, [0.02, 0.5, 20.0])
    assert math.isfinite(prior.card.sigma_max)
    assert prior.card.sigma_max == pytest.approx(log[-1].exp().item(), rel=0.02)  # its betas are float32


def tiny(channels=3, **settings):
    torch.manual_seed(1)
    return diffusers.UNet2DModel(
        sample_size=8, in_channels=channels, out_channels=settings.pop("out_channels", channels), layers_per_block=1,
        block_out_channels=(8, 16), norm_num_groups=4, down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2, add_attention=False, **settings,
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own, in Euler
@pytest.mark.parametrize("prediction", KINDS)
@pytest.mark.parametrize("name", ["DDPM", "DDIM", "EulerDiscrete", "EDMEuler"])
def test_denoised_is_what_the_scheduler_takes_for_the_clean_sample(name, prediction):
    if name == "EDMEuler" and prediction == "sample":
        pytest.skip("diffusers' EDM scheduler has no 'sample'")
    clip = {"clip_sample": False} if name.startswith("DD") else {}
    scheduler = getattr(diffusers, f"{name}Scheduler")(prediction_type=prediction, **clip)
    unet = tiny().eval()
    prior = from_diffusers(unet, scheduler, name="x")
    scheduler.set_timesteps(10)
    for step in (2, 7):
        time = scheduler.timesteps[step]
        if name.startswith("DD"):
            kept = scheduler.alphas_cumprod.double()[time]
            sigma, scale = (1 / kept - 1).sqrt().float(), kept.sqrt().float()
        else:
            sigma, scale = scheduler.sigmas[step], torch.tensor(1.0)
        x = torch.randn(1, 3, 8, 8) * (1 + sigma)
        scheduler._step_index = None  # each step stands for itself
        z = scheduler.scale_model_input(scale * x, time)
        out = unet(z, time, return_dict=False)[0]
        theirs = scheduler.step(out, time, scale * x).pred_original_sample
        assert_close(prior.denoise(x, sigma[None]), theirs, rtol=1e-4, atol=1e-4 * (1 + sigma.item()))


def test_flow_step_to_zero_noise_is_the_denoised_sample():
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    unet = tiny().eval()
    prior = from_diffusers(unet, scheduler, name="x")
    scheduler.set_timesteps(1)  # from t = 1 ...
    scheduler.set_timesteps(sigmas=[0.6])  # ... or from 0.6, straight to 0
    z = torch.randn(1, 3, 8, 8)
    theirs = scheduler.step(unet(z, scheduler.timesteps[0]).sample, scheduler.timesteps[0], z).prev_sample
    assert_close(prior.denoise(z / 0.4, torch.tensor([1.5])), theirs, rtol=1e-5, atol=1e-5)


def test_pipeline_folder_and_model_folder(tmp_path):
    unet, scheduler = tiny().eval(), diffusers.DDIMScheduler(beta_schedule="scaled_linear")
    diffusers.DDIMPipeline(unet=unet, scheduler=scheduler).save_pretrained(tmp_path / "pipe")
    unet.save_pretrained(tmp_path / "model")
    scheduler.save_config(tmp_path / "model")
    x, sigma = torch.randn(2, 3, 8, 8), torch.tensor([0.1, 2.0])
    expected = from_diffusers(unet, scheduler, name="x").denoise(x, sigma)
    for folder in (tmp_path / "pipe", tmp_path / "model", tmp_path / "pipe" / "unet"):
        prior = load_prior(folder)
        assert_close(prior.denoise(x, sigma), expected)
        assert prior.card.name == folder.name
        assert not any(value.requires_grad for value in prior.parameters())
    pipeline = diffusers.DDIMPipeline.from_pretrained(tmp_path / "pipe")
    assert_close(load_prior(pipeline).denoise(x, sigma), expected)
    assert (load_prior(pipeline, autocast=True).denoise(x, sigma) - expected).abs().max() < 0.1


def test_code_in_a_models_folder_is_refused(tmp_path):
    diffusers.UNet2DModel(
        sample_size=8, in_channels=3, out_channels=3, block_out_channels=(8,), norm_num_groups=4, layers_per_block=1,
        down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",), add_attention=False,
    ).save_pretrained(tmp_path / "unet")  # fmt: skip
    diffusers.DDPMScheduler().save_pretrained(tmp_path / "scheduler")
    (tmp_path / "unet" / "diffusers.py").write_text("raise SystemExit")
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "DDPMPipeline"}))
    with pytest.raises(
        ValueError, match=r"unet.diffusers\.py is code, and a prior's folder may hold weights and settings"
    ):
        load_prior(tmp_path)


def test_half_precision_weights():
    unet, scheduler = tiny(), diffusers.DDPMScheduler()
    x, sigma = torch.randn(2, 3, 8, 8), torch.tensor([0.02, 2.0])
    exact = score(from_diffusers(unet, scheduler, name="x"), x, sigma)
    half = score(from_diffusers(unet.to(torch.bfloat16), scheduler, name="x"), x, sigma)
    assert half.dtype == torch.float32
    assert ((half - exact).abs() / exact.abs().amax((1, 2, 3), keepdim=True)).max() < 0.05


def test_learned_variance_is_dropped():
    unet, scheduler = tiny(out_channels=6).eval(), diffusers.DDPMScheduler(variance_type="learned_range")
    x, sigma = torch.randn(1, 3, 8, 8), torch.tensor([1.0])
    prior = from_diffusers(unet, scheduler, name="x")
    half = wrap(
        lambda z, t: unet(z, t).sample[:, :3], prediction="epsilon", betas=scheduler.betas, channels=("r", "g", "b")
    )
    assert_close(prior.denoise(x, sigma), half.denoise(x, sigma))


def test_one_dimension(tmp_path):
    unet = diffusers.UNet1DModel(
        sample_size=16, in_channels=1, out_channels=1, block_out_channels=(32, 32), layers_per_block=1,
        down_block_types=("DownResnetBlock1D",) * 2, up_block_types=("UpResnetBlock1D",),
        mid_block_type="MidResTemporalBlock1D", out_block_type="OutConv1DBlock", act_fn="mish",
        use_timestep_embedding=True, time_embedding_type="positional", norm_num_groups=8,
    )  # fmt: skip
    unet.save_pretrained(tmp_path / "line")
    diffusers.DDPMScheduler().save_config(tmp_path / "line")
    prior = load_prior(tmp_path / "line")
    assert (prior.channels, prior.card.size) == (("gray",), (16,))
    x = torch.randn(2, 1, 16)
    kept = (1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)).cumprod(0)[100]
    sigma = (1 / kept - 1).sqrt().float().expand(2)
    out = unet.eval()(kept.sqrt().float() * x, torch.tensor([100.0, 100.0])).sample
    assert_close(prior.denoise(x, sigma), x - sigma[:, None, None] * out, rtol=1e-4, atol=1e-4)


def test_channels_are_named_by_count_by_card_or_by_hand(tmp_path):
    scheduler = diffusers.DDPMScheduler()
    names = ("r", "g", "b", "disparity")
    assert from_diffusers(tiny(1), scheduler, name="x").channels == ("gray",)
    with pytest.raises(ValueError, match="x has 4 channels without names. Name them: load_prior"):
        from_diffusers(tiny(4), scheduler, name="x")
    with pytest.raises(ValueError, match="has 4 channels, but channels=.*names 1"):
        from_diffusers(tiny(4), scheduler, name="x", channels=("r",))
    assert from_diffusers(tiny(4), scheduler, name="x", channels=names).channels == names
    tiny(4).save_pretrained(tmp_path)
    scheduler.save_config(tmp_path)
    card = PriorCard("rooms", names, (8, 8), 0.01, 100.0, d_min=0.5)
    (tmp_path / "card.json").write_text(card.to_json())
    prior = load_prior(tmp_path)
    assert not isinstance(prior, NetworkPrior), "its noise is not EDM's, so neither is its preconditioning"
    assert dataclasses.replace(prior.card, sigma_min=0.01) == card
    assert prior.card.sigma_min == pytest.approx(0.01, rel=1e-4), "the table's, which float32 rounds"
    with pytest.raises(ValueError, match="contradict the card"):
        load_prior(tmp_path, channels=("a", "b", "c", "d"))


@pytest.mark.parametrize(
    ("scheduler", "says"),
    [
        (
            lambda: diffusers.VQDiffusionScheduler(num_vec_classes=4),
            "VQDiffusionScheduler replaces classes .tokens. by others",
        ),
        (lambda: diffusers.KarrasVeScheduler(), "KarrasVeScheduler is not supported; supported are DDPMScheduler"),
        (lambda: diffusers.LCMScheduler(), "LCMScheduler is one for distilled models"),
        (lambda: diffusers.CMStochasticIterativeScheduler(), "a sample and not the posterior mean"),
        (lambda: diffusers.CogVideoXDDIMScheduler(), "shifts its noise by snr_shift_scale"),
        (
            lambda: SimpleNamespace(scheduler=1),
            r"a pipeline. Give what it holds: scheduler_settings.pipeline.scheduler",
        ),
        (lambda: "DDPM", "a scheduler is needed, .* got the name 'DDPM'. Give DDPMScheduler.from_pretrained"),
        (lambda: None, "got None. Give the one of the training"),
        (lambda: diffusers.DDPMScheduler, r"got the class DDPMScheduler. Give an object of it: DDPMScheduler\(...\)"),
        (lambda: dict(diffusers.DDPMScheduler().config), "got a dict of settings. Give DDPMScheduler.from_config"),
        (lambda: nn.Linear(1, 1), "got a Linear, a network. The network comes first"),
        (
            lambda: torch.optim.lr_scheduler.ConstantLR(torch.optim.SGD(nn.Linear(1, 1).parameters(), 1.0)),
            "got a ConstantLR, which is of the learning rate",
        ),
        (lambda: diffusers.FlowMatchEulerDiscreteScheduler(invert_sigmas=True), "counts time backwards"),
        (
            lambda: diffusers.DPMSolverMultistepScheduler(prediction_type="flow_prediction"),
            "needs use_flow_sigmas=True. For a network of flow matching give FlowMatchEulerDiscreteScheduler",
        ),
        (
            lambda: diffusers.EDMEulerScheduler(prediction_type="sample"),
            "'epsilon' and 'v_prediction', but got 'sample'",
        ),
    ],
)
def test_schedulers_that_are_not_supported(scheduler, says):
    with pytest.raises(ValueError, match=says) as caught:
        scheduler_settings(scheduler())
    assert "\n" not in str(caught.value)


def test_networks_that_are_not_supported():
    with pytest.raises(ValueError, match="conditioned on a class. Choose one: scorereg.wrap"):
        from_diffusers(tiny(num_class_embeds=10), diffusers.DDPMScheduler(), name="x")
    pipeline = SimpleNamespace(unet=nn.Linear(1, 1), scheduler=diffusers.DDPMScheduler())
    with pytest.raises(ValueError, match="holds a Linear, but supported are UNet2DModel, UNet1DModel"):
        load_prior(pipeline)
    with pytest.raises(ValueError, match="does not say how its noise is made"):
        load_prior(tiny())
    with pytest.raises(ValueError, match="load_prior got a int, which cannot be called"):
        load_prior(3)


@pytest.fixture
def model(tmp_path):
    tiny().save_pretrained(tmp_path / "m")
    diffusers.DDPMScheduler().save_config(tmp_path / "m")
    return tmp_path / "m"


def one_line(folder, says, kind=ValueError):
    with pytest.raises(kind, match=says) as caught:
        load_prior(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_truncated_weights(model):
    path = model / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-500])
    one_line(model, r"diffusion_pytorch_model.safetensors is damaged or no safetensors .*incomplete")


def test_weights_in_a_pickle_without_code_are_read(model):
    x, sigma = torch.randn(1, 3, 8, 8), torch.tensor([1.0])
    before = load_prior(model).denoise(x, sigma)
    path = model / "diffusion_pytorch_model.safetensors"
    torch.save(safetensors.torch.load_file(path), model / "diffusion_pytorch_model.bin")
    path.unlink()
    assert_close(load_prior(model).denoise(x, sigma), before)


def test_missing_files(model, caplog):
    (model / "scheduler_config.json").rename(model / "s")
    one_line(model, r"scheduler_config\.json is missing", FileNotFoundError)
    (model / "s").rename(model / "scheduler_config.json")
    (model / "diffusion_pytorch_model.safetensors").unlink()
    one_line(model, r"m holds no weights. Expected is diffusion_pytorch_model.safetensors", FileNotFoundError)
    assert not caplog.records
    (model / "config.json").write_text("{")
    one_line(model, r"config\.json is no valid JSON")
    (model / "config.json").unlink()
    one_line(model, "m holds a scheduler alone, without a network", FileNotFoundError)
    (model / "scheduler_config.json").unlink()
    one_line(model, "is an empty folder", FileNotFoundError)
    (model / "model_index.json").write_text("{}")
    one_line(model, r"model_index\.json names None for _class_name")


def test_unknown_classes_in_the_files(model):
    settings = json.loads((model / "scheduler_config.json").read_text())
    (model / "scheduler_config.json").write_text(json.dumps(settings | {"_class_name": "os.system"}))
    one_line(model, "the scheduler os.system is not supported; supported are DDPMScheduler")
    (model / "config.json").write_text(json.dumps({"_class_name": "Transformer2DModel"}))
    one_line(model, "is of a Transformer2DModel, but supported are UNet2DModel")


class Evil:
    def __reduce__(self):
        return (exec, ("import pathlib; pathlib.Path('ran').write_text('x')",))


def test_a_pickle_with_code_in_it_is_refused_and_does_not_run(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (model / "diffusion_pytorch_model.safetensors").unlink()
    torch.save({"conv_in.weight": Evil()}, model / "diffusion_pytorch_model.bin", pickle_module=pickle)
    one_line(model, r"diffusion_pytorch_model.bin is no readable checkpoint, or holds code, .*it names exec")
    assert not (tmp_path / "ran").exists()


def test_hub_ids_need_a_network(monkeypatch, tmp_path):
    def offline(name, **settings):
        raise OSError("no route\nto host")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    one_line("google/ddpm-cat-256", r"there is no file or folder 'google/ddpm-cat-256', and the hub .*no route to host")
    diffusers.DDPMPipeline(tiny(), diffusers.DDPMScheduler()).save_pretrained(tmp_path / "cache")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **settings: str(tmp_path / "cache"))
    assert load_prior("owner/model").channels == ("r", "g", "b")
    one_line("a/b/c", "no prior is called 'a/b/c' and no such file or folder exists")


def test_arguments_that_mean_nothing_are_refused(model):
    pipeline = SimpleNamespace(unet=tiny(), scheduler=diffusers.DDPMScheduler())
    with pytest.raises(ValueError, match="prompt='a cat' means nothing for the unconditional prior"):
        load_prior(model, prompt="a cat")
    with pytest.raises(ValueError, match="prompt='a cat' means nothing for a SimpleNamespace"):
        load_prior(pipeline, prompt="a cat")
    with pytest.raises(ValueError, match="autocast=True means nothing for a function"):
        load_prior(lambda x, sigma: x, channels=("gray",), autocast=True)
    with pytest.raises(ValueError, match="channels=.* means nothing for a prior in memory"):
        load_prior(load_prior(pipeline), channels=("gray",))
    with pytest.raises(ValueError, match="guidance=2.0 means nothing for the shipped prior rooms-rgbd-24"):
        load_prior("rooms-rgbd-24", guidance=2.0)
    with pytest.raises(ValueError, match="negative_prompt='dark' means nothing for the unconditional prior"):
        load_prior(model, negative_prompt="dark")
    with pytest.raises(ValueError, match="no prior is called 'runs/model.pt'"):
        load_prior("runs/model.pt")


@pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # diffusers' own, in Euler and its like
@pytest.mark.parametrize("name", TABLES)
def test_tables_that_contradict_each_other(name):
    if name == "DPMSolverSDEScheduler":
        pytest.importorskip("torchsde")
    kind = getattr(diffusers, name)
    settings = {"beta_start": 1e-4, "beta_end": 0.02}
    for more in ({}, {"beta_schedule": "squaredcos_cap_v2"}, {"rescale_betas_zero_snr": True}):
        if more.keys() <= inspect.signature(kind).parameters.keys():
            scheduler_settings(kind(**settings, **more))  # what the class makes is no contradiction
    for changed in ("betas", "alphas_cumprod"):
        scheduler = kind(**settings)
        setattr(scheduler, changed, getattr(scheduler, changed) * 0.5)
        with pytest.raises(ValueError, match=f"betas and alphas_cumprod of this {name} contradict each other: at step"):
            scheduler_settings(scheduler)
    scheduler = kind(**settings)
    scheduler.betas = scheduler.betas * 0.5
    scheduler.alphas_cumprod = (1 - scheduler.betas).cumprod(0)
    assert scheduler_settings(scheduler)["betas"] is scheduler.betas
    scheduler.alphas_cumprod = scheduler.alphas_cumprod[:10]
    with pytest.raises(ValueError, match="betas has 1000 entries and alphas_cumprod 10"):
        scheduler_settings(scheduler)
