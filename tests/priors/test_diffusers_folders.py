"""Folders of diffusers in all the forms in which they are met: what is read, what is asked for, what is refused."""

import json
import shutil
import warnings

import diffusers
import pytest
import safetensors.torch
import torch
from torch.testing import assert_close

from scorereg import load_prior
from scorereg.priors.adapters.diffusers import from_diffusers
from tests.priors.test_priors_diffusers import tiny

WEIGHTS = "diffusion_pytorch_model"
X, SIGMA = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([0.1, 2.0])


@pytest.fixture
def pipe(tmp_path):
    """A pipeline's folder."""
    diffusers.DDPMPipeline(unet=tiny(), scheduler=diffusers.DDPMScheduler()).save_pretrained(tmp_path / "pipe")
    return tmp_path / "pipe"


def expected(unet=None, scheduler=None):
    return from_diffusers(unet or tiny(), scheduler or diffusers.DDPMScheduler(), name="x").denoise(X, SIGMA)


def refused(source, says, kind=ValueError, **given):
    with pytest.raises(kind, match=says) as caught:
        load_prior(source, **given)
    assert "\n" not in str(caught.value)


def weights_of(folder):
    return safetensors.torch.load_file(folder / f"{WEIGHTS}.safetensors")


def rename(folder, change, *, dtype=torch.float32):
    """Write the weights anew as other files."""
    state = {name: value.to(dtype) for name, value in weights_of(folder).items()}
    (folder / f"{WEIGHTS}.safetensors").unlink()
    change(state)


def test_all_parts_in_one_folder(pipe):
    for part in ("unet", "scheduler"):
        for path in (pipe / part).iterdir():
            shutil.move(path, pipe / path.name)
        (pipe / part).rmdir()
    prior = load_prior(pipe)
    assert_close(prior.denoise(X, SIGMA), expected())
    assert prior.card.architecture == "diffusers UNet2DModel"
    assert prior.card.assumed[0] == "data in [-1, 1] in training: data_range= says otherwise"


def test_a_variant_is_found_if_it_is_the_only_one(pipe):
    unet = pipe / "unet"
    rename(unet, lambda s: safetensors.torch.save_file(s, unet / f"{WEIGHTS}.fp16.safetensors"), dtype=torch.float16)
    half = tiny().half().float()
    for prior in (load_prior(pipe), load_prior(pipe, variant="fp16")):
        assert_close(prior.denoise(X, SIGMA), expected(half))
        assert "weights: variant fp16, computed in float32" in prior.card.assumed
        assert next(prior.network.parameters()).dtype == torch.float32
    refused(pipe, r"unet holds no variant 'bf16'; there are fp16", variant="bf16")
    shutil.copy(unet / f"{WEIGHTS}.fp16.safetensors", unet / f"{WEIGHTS}.ema.safetensors")
    refused(pipe, r"unet holds the weights as variants ema, fp16. Choose one: load_prior\(..., variant='ema'\)")
    assert_close(load_prior(pipe, variant="ema").denoise(X, SIGMA), expected(half))


def test_plain_weights_come_before_a_variant(pipe):
    safetensors.torch.save_file(
        {name: value.zero_() for name, value in weights_of(pipe / "unet").items()},
        pipe / "unet" / f"{WEIGHTS}.fp16.safetensors",
    )
    assert_close(load_prior(pipe).denoise(X, SIGMA), expected())


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
@pytest.mark.parametrize("variant", ["", "fp16"])
def test_shards(kind, variant, pipe):
    unet, dot = pipe / "unet", f".{variant}" if variant else ""

    def write(state):
        save = safetensors.torch.save_file if kind == "safetensors" else torch.save
        names = sorted(state)
        parts = {f"{WEIGHTS}{dot}-0000{i + 1}-of-00002.{kind}": names[i::2] for i in range(2)}
        for file, own in parts.items():
            save({name: state[name] for name in own}, unet / file)
        listed = {name: file for file, own in parts.items() for name in own}
        (unet / f"{WEIGHTS}.{kind}.index{dot}.json").write_text(json.dumps({"metadata": {}, "weight_map": listed}))

    rename(unet, write)
    assert_close(load_prior(pipe).denoise(X, SIGMA), expected())
    index = next(unet.glob("*index*"))
    (unet / f"{WEIGHTS}{dot}-00002-of-00002.{kind}").rename(unet / "away")
    refused(pipe, r"00002-of-00002.* is missing, one of 2 shards", FileNotFoundError)
    index.write_text(json.dumps({"weight_map": {"conv_in.weight": "../other.bin"}}))
    refused(pipe, r"names '../other.bin', which is no file beside it")
    index.write_text("{}")
    refused(pipe, r"lists no shards under `weight_map`")


def test_a_shard_that_is_not_listed_is_missed(pipe):
    unet = pipe / "unet"

    def write(state):
        first = dict(list(state.items())[:-3])
        safetensors.torch.save_file(first, unet / "a.safetensors")
        listed = dict.fromkeys(first, "a.safetensors")
        (unet / f"{WEIGHTS}.safetensors.index.json").write_text(json.dumps({"weight_map": listed}))

    rename(unet, write)
    refused(pipe, r"does not hold this network's weights \(3 are missing, such as \w")


def test_old_names_of_attention(tmp_path):
    """As diffusers wrote them until 0.13, and as it still reads them."""
    torch.manual_seed(3)
    unet = diffusers.UNet2DModel(
        sample_size=8, in_channels=3, out_channels=3, layers_per_block=1, block_out_channels=(8, 16), norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=None,
    ).eval()  # fmt: skip
    diffusers.DDPMPipeline(unet=unet, scheduler=diffusers.DDPMScheduler()).save_pretrained(tmp_path)
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def name_of(name):
        for new, before in old.items():
            name = name.replace(f".{new}.", f".{before}.")
        return name

    path = tmp_path / "unet" / f"{WEIGHTS}.safetensors"
    state = {name_of(name): value for name, value in weights_of(tmp_path / "unet").items()}
    assert sum(".query." in name for name in state) == 8
    safetensors.torch.save_file(state, path, metadata={"format": "pt"})
    theirs = diffusers.UNet2DModel.from_pretrained(tmp_path / "unet").eval()
    assert_close(load_prior(tmp_path).denoise(X, SIGMA), expected(theirs))


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod."])
def test_weights_that_were_saved_inside_a_wrapper(prefix, pipe):
    unet = pipe / "unet"
    state = {prefix + name: value for name, value in weights_of(unet).items()}
    safetensors.torch.save_file(state, unet / f"{WEIGHTS}.safetensors", metadata={"format": "pt"})
    assert_close(load_prior(pipe).denoise(X, SIGMA), expected())


def test_a_model_without_a_scheduler(tmp_path):
    tiny().save_pretrained(tmp_path / "net")
    says = r"scheduler_config.json is missing.* from_diffusers\(UNet2DModel.from_pretrained\('.*net'\), DDPMScheduler"
    refused(tmp_path / "net", says, FileNotFoundError)
    refused(tmp_path / "net", "is missing", FileNotFoundError, prediction="epsilon")
    betas = diffusers.DDPMScheduler().betas
    prior = load_prior(tmp_path / "net", prediction="epsilon", betas=betas)
    assert_close(prior.denoise(X, SIGMA), expected())


def test_checkpoints_of_a_training_run(tmp_path):
    """As diffusers' training script and accelerate write them."""
    run, step = tmp_path / "run", tmp_path / "run" / "checkpoint-500"
    torch.manual_seed(5)
    average = diffusers.UNet2DModel.from_config(tiny().config)
    tiny().save_pretrained(step / "unet")
    average.save_pretrained(step / "unet_ema")
    config = json.loads((step / "unet_ema" / "config.json").read_text())
    (step / "unet_ema" / "config.json").write_text(json.dumps(config | {"decay": 0.9999, "optimization_step": 500}))
    for name in ("optimizer.bin", "random_states_0.pkl", "scheduler.bin"):
        (step / name).write_bytes(b"x")
    refused(
        run, r"run holds 1 checkpoints of a training run. Give one: load_prior\('.*checkpoint-500'\)", FileNotFoundError
    )
    refused(step, "unet_ema/scheduler_config.json is missing", FileNotFoundError)
    diffusers.DDPMScheduler().save_pretrained(run / "scheduler")
    prior = load_prior(step)
    assert_close(prior.denoise(X, SIGMA), expected(average.eval()))
    assert "weights: unet_ema, averaged" in prior.card.assumed
    plain = load_prior(step / "unet")
    assert_close(plain.denoise(X, SIGMA), expected())
    assert "weights: unet, not averaged; averaged ones are in ../unet_ema" in plain.card.assumed
    shutil.rmtree(step / "unet_ema")
    assert "weights: unet, not averaged" in load_prior(step).card.assumed


@pytest.fixture
def latent(tmp_path):
    """An unconditional pipeline of latents, and its parts."""
    torch.manual_seed(2)
    vq = diffusers.VQModel(
        block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2, norm_num_groups=4,
        num_vq_embeddings=16, up_block_types=("UpDecoderBlock2D",) * 2, scaling_factor=0.3,
    ).eval()  # fmt: skip
    scheduler = diffusers.DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.0015, beta_end=0.0195)
    diffusers.LDMPipeline(vqvae=vq, unet=tiny(), scheduler=scheduler).save_pretrained(tmp_path / "ldm")
    return tmp_path / "ldm", vq, scheduler


def test_a_network_of_latents_is_no_prior_of_colours(latent):
    folder, vq, scheduler = latent
    pipeline = diffusers.LDMPipeline.from_pretrained(folder)
    for source in (folder, folder / "unet", pipeline):
        prior = load_prior(source)
        assert prior.channels == ("latent_0", "latent_1", "latent_2")
        assert_close(prior.denoise(X, SIGMA), expected(scheduler=scheduler))
        rgb = torch.rand(1, 3, 16, 16)
        with torch.no_grad():
            assert_close(prior.transform(rgb), vq.encode(2 * rgb - 1).latents * 0.3)
            assert_close(prior.transform.inverse(X), vq.decode(X / 0.3).sample / 2 + 0.5)
        assert any("latents of a VQModel times 0.3" in line for line in prior.card.assumed)
    refused(folder, "channels=.* means nothing for .*a prior over latents", channels=("r", "g", "b"))


def test_latents_of_before_there_was_a_scale(latent):
    folder, vq, _ = latent
    config = json.loads((folder / "vqvae" / "config.json").read_text())
    del config["scaling_factor"]
    (folder / "vqvae" / "config.json").write_text(json.dumps(config))
    with pytest.warns(
        UserWarning, match="vqvae/config.json names no scaling_factor: the latents are taken without one"
    ):
        prior = load_prior(folder)
    rgb = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert_close(prior.transform(rgb), vq.encode(2 * rgb - 1).latents)


def test_pipelines_of_other_kinds(latent, pipe):
    folder, *_ = latent
    index = json.loads((folder / "model_index.json").read_text())
    for change, says in (
        ({"bert": ["transformers", "BertModel"]}, r"is of a LDMPipeline with bert, which is not supported"),
        ({"vae": ["diffusers", "AutoencoderKL"]}, r"with vqvae, vae, which is not supported"),
        (
            {"unet": [None, None], "transformer": ["diffusers", "DiTTransformer2DModel"]},
            "without a unet; supported are",
        ),
    ):
        (folder / "model_index.json").write_text(json.dumps(index | change))
        refused(folder, says)
    config = json.loads((pipe / "unet" / "config.json").read_text())
    (pipe / "unet" / "config.json").write_text(json.dumps(config | {"_class_name": "UNet2DConditionModel"}))
    refused(
        pipe,
        "is of a UNet2DConditionModel, but supported are .* conditioned on a text or image: give the folder of its",
    )


def test_networks_with_more_inputs(tmp_path):
    upscale = tiny(6, out_channels=3)
    says = r"x takes 6 channels and returns 3: it denoises 3 of them, conditioned on an image of 3.* Bind.*wrap\(lambda"
    with pytest.raises(ValueError, match=says):
        from_diffusers(upscale, diffusers.DDPMScheduler(), name="x")
    classes = tiny(num_class_embeds=10)
    diffusers.DDPMPipeline(unet=classes, scheduler=diffusers.DDPMScheduler()).save_pretrained(tmp_path)
    refused(tmp_path, "is conditioned on a class. Choose one")


def test_the_networks_score_of_score_sde(tmp_path):
    """A variance exploding network is given sigma and returns the score, of images in [0, 1]."""
    torch.manual_seed(4)
    unet = diffusers.UNet2DModel(
        sample_size=8, in_channels=3, out_channels=3, layers_per_block=1, block_out_channels=(8, 8), norm_num_groups=4,
        down_block_types=("SkipDownBlock2D",) * 2, up_block_types=("SkipUpBlock2D",) * 2, add_attention=False,
        time_embedding_type="fourier", center_input_sample=True,
    ).eval()  # fmt: skip
    scheduler = diffusers.ScoreSdeVeScheduler(sigma_min=0.01, sigma_max=50.0)
    unet.save_pretrained(tmp_path)
    scheduler.save_pretrained(tmp_path)
    prior = load_prior(tmp_path)
    u, s = (X + 1) / 2, SIGMA / 2  # in the network's units
    with torch.no_grad():
        clean = u + s[:, None, None, None] ** 2 * unet(u, s).sample
    assert_close(prior.denoise(X, SIGMA), 2 * clean - 1, rtol=1e-4, atol=1e-5)
    assert prior.card.sigma_max == pytest.approx(100)


def test_arguments_that_contradict_the_folder(pipe):
    refused(pipe, r"scheduler_config.json says prediction='epsilon', not 'sample'. Leave it out", prediction="sample")
    refused(pipe, "has the noise table of .*pipe. Leave betas out", betas=[0.1, 0.2, 0.3])
    refused(pipe, "groups=4 means nothing for the unconditional prior", groups=4)
    refused(pipe, "version='1.0' means nothing", version="1.0")
    prior = load_prior(
        pipe, prediction="epsilon", data_range=(0, 1), d_min=0.5, size=(8, 8), channels=("a", "b", "disparity")
    )
    assert (prior.card.d_min, prior.card.size, prior.card.assumed) == (0.5, (8, 8), ())
    half = from_diffusers(tiny(), diffusers.DDPMScheduler(), name="x", data_range=(0, 1))
    assert_close(prior.denoise(X, SIGMA), half.denoise(X, SIGMA))


def edit(path, **changes):
    entries = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in entries.items() if value != "drop"}))


def test_settings_that_are_not_understood(pipe):
    config, scheduler = pipe / "unet" / "config.json", pipe / "scheduler" / "scheduler_config.json"
    edit(config, future_option=3)
    with pytest.warns(UserWarning, match=r"config.json: future_option means nothing to diffusers' UNet2DModel"):
        load_prior(pipe)
    edit(config, future_option="drop")
    edit(config, norm_eps="drop")
    with pytest.warns(UserWarning, match="config.json names no norm_eps: diffusers' defaults are taken"):
        load_prior(pipe)
    edit(config, norm_eps=1e-5)
    edit(scheduler, beta_start=0.1)
    with pytest.warns(UserWarning, match="`betas` fall, shape .* from 0.1 to 0.02"):
        load_prior(pipe)
    edit(scheduler, beta_start=1e-4)
    edit(scheduler, num_train_timesteps="drop")
    with pytest.warns(UserWarning, match="names no num_train_timesteps: the defaults of diffusers are taken"):
        load_prior(pipe)
    edit(scheduler, num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2", beta_start="drop", beta_end="drop")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_prior(pipe)  # whose betas have no ends


@pytest.mark.parametrize(
    "name", ["DPMSolverMultistep", "KDPM2Discrete", "DEISMultistep", "EDMDPMSolverMultistep", "RePaint"]
)
def test_further_schedulers_from_their_files(name, pipe):
    """Among them ones with an infinite number in their file, and ones that warn of themselves."""
    shutil.rmtree(pipe / "scheduler")
    kind = getattr(diffusers, f"{name}Scheduler")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler = kind()
    scheduler.save_pretrained(pipe / "scheduler")
    index = json.loads((pipe / "model_index.json").read_text())
    (pipe / "model_index.json").write_text(json.dumps(index | {"scheduler": ["diffusers", kind.__name__]}))
    assert_close(load_prior(pipe).denoise(X, SIGMA), expected(scheduler=scheduler))


def test_older_names_of_the_prediction(pipe):
    scheduler = pipe / "scheduler" / "scheduler_config.json"
    edit(scheduler, prediction_type="drop")
    prior = load_prior(pipe)
    assert prior.prediction == "epsilon"
    assert "prediction epsilon, diffusers' where a file does not say it" in prior.card.assumed
    edit(scheduler, predict_epsilon=False)
    assert load_prior(pipe).prediction == "sample"


@pytest.mark.parametrize(
    ("file", "changes", "says"),
    [
        ("unet/config.json", {"layers_per_block": 10**8}, "describes a network of more layers than there are weights"),
        ("unet/config.json", {"block_out_channels": [8, 2**40]}, "config.json: block_out_channels cannot be"),
        ("unet/config.json", {"block_out_channels": [8, 2**24]}, "does not hold this network's weights"),
        ("unet/config.json", {"sample_size": -7.5}, "config.json: sample_size cannot be -7.5"),
        ("unet/config.json", {"norm_eps": "1e-5"}, "config.json: norm_eps cannot be '1e-5'"),
        ("unet/config.json", {"center_input_sample": 7}, "config.json: center_input_sample cannot be 7"),
        ("unet/config.json", {"downsample_padding": -1}, "config.json describes no UNet2DModel"),
        ("unet/config.json", {"mid_block_scale_factor": None}, "config.json describes no UNet2DModel"),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": 10**12}, "num_train_timesteps is 1000000000000"),
        ("scheduler/scheduler_config.json", {"beta_end": -3.0}, "scheduler_config.json: `betas` must be a list"),
        (
            "scheduler/scheduler_config.json",
            {"beta_schedule": "mine"},
            "beta_schedule is 'mine', which diffusers does not have",
        ),
        ("scheduler/scheduler_config.json", {"trained_betas": "all"}, "trained_betas cannot be 'all'"),
    ],
)
def test_damaged_settings(file, changes, says, pipe):
    edit(pipe / file, **changes)
    refused(pipe, says)


def test_hub_downloads_variants_only_where_there_is_nothing_else(pipe, tmp_path, monkeypatch):
    """Against a stand-in for the hub that copies what the patterns ask for."""
    from fnmatch import fnmatch

    asked = []

    def download(name, allow_patterns, ignore_patterns):
        asked.append(allow_patterns)
        for path in sorted(pipe.rglob("*")):
            inside = str(path.relative_to(pipe))
            wanted = any(fnmatch(inside, p) for p in allow_patterns) and not any(
                fnmatch(inside, p) for p in ignore_patterns
            )
            if path.is_file() and wanted:
                (tmp_path / "cache" / inside).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, tmp_path / "cache" / inside)
        return str(tmp_path / "cache")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    unet = pipe / "unet"
    torch.save(weights_of(unet), unet / f"{WEIGHTS}.bin")
    safetensors.torch.save_file(weights_of(unet), unet / f"{WEIGHTS}.fp16.safetensors")
    assert_close(load_prior("owner/model").denoise(X, SIGMA), expected())
    assert len(asked) == 1
    assert not any(".bin" in p.name or "fp16" in p.name for p in (tmp_path / "cache").rglob("*"))
    for gone, calls in ((f"{WEIGHTS}.safetensors", 2), (f"{WEIGHTS}.fp16.safetensors", 3)):
        shutil.rmtree(tmp_path / "cache")
        asked.clear()
        (unet / gone).unlink()
        assert_close(load_prior("owner/model").denoise(X, SIGMA), expected())
        assert len(asked) == calls


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("ConsistencyModelPipeline", "ConsistencyModelPipeline. Its network is distilled"),
        ("ScoreSdeVePipeline", "under a ScoreSdeVeScheduler, but the scheduler beside it is a DDPMScheduler"),
        ("KarrasVePipeline", "gives its network sigma / 2"),
    ],
)
def test_pipelines_that_call_their_network_otherwise(kind, says, pipe):
    edit(pipe / "model_index.json", _class_name=kind)
    refused(pipe, says)
    pipeline = type(kind, (), {"unet": tiny(), "scheduler": diffusers.DDPMScheduler()})()
    refused(pipeline, says)


def test_classes_in_the_index(pipe):
    for kind in ("DDIMPipeline", "PNDMPipeline"):
        edit(pipe / "model_index.json", _class_name=kind)
        load_prior(pipe)
    edit(pipe / "model_index.json", _class_name="MyPipeline")
    with pytest.warns(UserWarning, match="model_index.json is of a MyPipeline, which is not known here"):
        load_prior(pipe)
    edit(pipe / "model_index.json", _class_name="DDPMPipeline", scheduler=["diffusers", "DDIMScheduler"])
    with pytest.warns(UserWarning, match="names a DDIMScheduler for the scheduler, but .* is of a DDPMScheduler"):
        load_prior(pipe)
    edit(pipe / "model_index.json", scheduler=["diffusers", "LCMScheduler"])
    refused(pipe, "names a LCMScheduler for the scheduler, .* distilled models")


def test_settings_of_a_scheduler_that_may_change_its_noise(pipe):
    path = pipe / "scheduler" / "scheduler_config.json"
    edit(path, skip_prk_steps=True, use_karras_sigmas=True, solver_order=2)
    load_prior(pipe)  # of other schedulers, and of sampling
    edit(path, snr_shift_scale=3.0)
    with pytest.warns(UserWarning, match="snr_shift_scale=3.0 means nothing to a DDPMScheduler .* change the noise"):
        load_prior(pipe)
    edit(path, snr_shift_scale="drop", use_flow_sigmas=True)
    with pytest.warns(UserWarning, match="use_flow_sigmas=True means nothing to a DDPMScheduler"):
        load_prior(pipe)
    edit(path, use_flow_sigmas=False, beta_schedule="cosine")
    refused(pipe, "beta_schedule is 'cosine', .* Write squaredcos_cap_v2")
    edit(path, beta_schedule="linear", beta_start=0.02, beta_end=1e-4)
    with pytest.warns(UserWarning, match=f"^{pipe}: `betas` fall"):
        load_prior(pipe)
    edit(path, _class_name="drop")
    refused(pipe, "scheduler_config.json: _class_name, the class of the scheduler, is None; supported are DDPM")


def test_data_from_zero_are_told(pipe):
    edit(pipe / "unet" / "config.json", center_input_sample=True)
    with pytest.warns(UserWarning, match=r"center_input_sample=True, .* Say it: data_range=\(0.0, 1.0\)"):
        load_prior(pipe)
    load_prior(pipe, data_range=(0.0, 1.0))


def test_files_beside_a_network(pipe):
    (pipe / "card.json").write_text(json.dumps({"prediction": "edm"}))
    refused(pipe, r"card.json says prediction 'edm', .* of a DDPMPipeline. Remove the card, .*channels=")
    (pipe / "card.json").unlink()
    (pipe / "unet" / "pytorch_lora_weights.safetensors").write_bytes(b"x")
    with pytest.warns(UserWarning, match="pytorch_lora_weights.safetensors is of a LoRA .* not applied"):
        load_prior(pipe)
    (pipe / "unet" / "pytorch_lora_weights.safetensors").unlink()
    (pipe / "unet" / f"{WEIGHTS}.safetensors").rename(pipe / "unet" / f"{WEIGHTS}-00001-of-00002.safetensors")
    refused(pipe, f"{WEIGHTS}.safetensors.index.json is missing, the list of the 1 shards", FileNotFoundError)
