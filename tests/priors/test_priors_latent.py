"""Text-conditioned latent models, on a tiny random pipeline of diffusers' own classes."""

import json

import pytest
import torch
from torch.testing import assert_close

from scorereg import ScoreLoss, load_prior
from scorereg.priors.adapters.latents import Latents

transformers = pytest.importorskip("transformers", reason="the extra `text` is not installed")
import diffusers  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SIGMA = torch.tensor([0.5, 3.0])


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """Spells: each letter is a token."""
    folder = tmp_path_factory.mktemp("words")
    words = ["<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=8)


@pytest.fixture(scope="module")
def pipeline(tokenizer):
    torch.manual_seed(0)
    text = transformers.CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=8, projection_dim=16, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    unet = diffusers.UNet2DConditionModel(
        sample_size=4, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(8, 16),
        norm_num_groups=4, cross_attention_dim=16, attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    vae = diffusers.AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=4, block_out_channels=(8, 8), norm_num_groups=4, sample_size=8,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip
    return diffusers.StableDiffusionPipeline(
        vae=vae, text_encoder=transformers.CLIPTextModel(text), tokenizer=tokenizer, unet=unet,
        scheduler=diffusers.PNDMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def guess(pipeline, z, time, text):
    """The noise that the network sees, for one text, computed in the plainest way."""
    ids = pipeline.tokenizer(text, padding="max_length", max_length=8, return_tensors="pt").input_ids
    with torch.no_grad():
        states = pipeline.text_encoder(ids)[0].expand(len(z), -1, -1)
        return pipeline.unet(z, time, encoder_hidden_states=states).sample


@pytest.mark.parametrize("guidance", [1.0, 7.5, 100.0])
@pytest.mark.parametrize("negative", ["", "bad"])
def test_guidance(pipeline, guidance, negative):
    prior = load_prior(pipeline, prompt="a chair", guidance=guidance, negative_prompt=negative)
    kept = (1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2).cumprod(0)
    time = torch.tensor([100, 700])
    sigma, a = (1 / kept[time] - 1).sqrt().float(), kept[time].sqrt().float()[:, None, None, None]
    x = torch.randn(2, 4, 4, 4)
    empty, text = (guess(pipeline, a * x, time, words) for words in (negative, "a chair"))
    assert (empty - text).abs().max() > 1e-3, "the test sees no text"
    expected = x - sigma[:, None, None, None] * (empty + guidance * (text - empty))
    assert_close(prior.denoise(x, sigma), expected, rtol=1e-4, atol=1e-3)
    assert prior.channels == ("latent_0", "latent_1", "latent_2", "latent_3")
    assert prior.card.size == (4, 4)


def test_gradient_on_pixels_goes_through_the_encoder_alone(pipeline):
    prior = load_prior(pipeline, prompt="a chair")
    loss = ScoreLoss(prior, weight=torch.square)
    rgb = torch.rand(2, 3, 8, 8, requires_grad=True)
    loss(prior.transform(rgb), SIGMA).backward()

    other = rgb.detach().clone().requires_grad_()
    latents = pipeline.vae.encode(2 * other - 1).latent_dist.mean * pipeline.vae.config.scaling_factor
    residual = latents.detach() - prior.denoise(latents.detach(), SIGMA)
    latents.backward(residual / 2)  # two patches
    assert_close(rgb.grad, other.grad, rtol=1e-4, atol=1e-6)
    assert not any(value.requires_grad for value in prior.parameters())


def test_latents_and_back(pipeline):
    transform = Latents(pipeline.vae)
    rgb = torch.rand(1, 3, 8, 8)
    latents = transform(rgb)
    assert latents.shape == (1, 4, 4, 4)
    plain = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor).sample
    assert_close(transform.inverse(latents), (plain + 1) / 2)


def test_folder(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "p")
    x = torch.randn(2, 4, 4, 4)
    again = load_prior(tmp_path / "p", prompt="a chair", guidance=3.0)
    assert_close(again.denoise(x, SIGMA), load_prior(pipeline, prompt="a chair", guidance=3.0).denoise(x, SIGMA))
    rgb = torch.rand(1, 3, 8, 8)
    assert_close(again.transform(rgb), Latents(pipeline.vae)(rgb))


@pytest.mark.parametrize("place", ["unet/diffusers.py", "text_encoder/transformers.py", "setup.py", "unet/config.json"])
def test_no_code_in_a_folder_runs(place, pipeline, tmp_path):
    folder, mark = tmp_path / "model", tmp_path / "mark"
    pipeline.save_pretrained(folder)
    path = folder / place
    if path.suffix == ".py":
        path.write_text(f"open({str(mark)!r}, 'w').write('ran')\n")
    else:
        path.write_text(json.dumps({**json.loads(path.read_text()), "auto_map": {"AutoModel": "evil.Model"}}))
    with pytest.raises(ValueError, match=r"(is code|names code in auto_map), and a prior's folder may hold"):
        load_prior(folder, prompt="a chair")
    assert not mark.exists()


def test_half_precision(pipeline):
    x = torch.randn(2, 4, 4, 4)
    exact = load_prior(pipeline, prompt="a chair").denoise(x, SIGMA)
    try:
        for part in (pipeline.unet, pipeline.text_encoder, pipeline.vae):
            part.to(torch.bfloat16)
        prior = load_prior(pipeline, prompt="a chair")
        assert (prior.denoise(x, SIGMA) - exact).abs().max() < 0.3
        assert prior.transform(torch.rand(1, 3, 8, 8)).dtype == torch.float32
    finally:
        for part in (pipeline.unet, pipeline.text_encoder, pipeline.vae):
            part.to(torch.float32)


def test_mistakes_are_named(pipeline, tmp_path):
    with pytest.raises(ValueError, match="StableDiffusionPipeline needs a text: load_prior"):
        load_prior(pipeline)
    pipeline.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    (tmp_path / "model_index.json").write_text(json.dumps(index | {"unet": ["their_code", "Model"]}))
    with pytest.raises(ValueError, match="takes parts from .*their_code.* may hold code"):
        load_prior(tmp_path, prompt="x")
    (tmp_path / "model_index.json").write_text(json.dumps(index | {"_class_name": "StableDiffusionXLPipeline"}))
    with pytest.raises(ValueError, match="is of a StableDiffusionXLPipeline; supported is StableDiffusionPipeline"):
        load_prior(tmp_path, prompt="x")
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    weights = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match="unet/diffusion_pytorch_model.safetensors is damaged") as caught:
        load_prior(tmp_path, prompt="x")
    assert "\n" not in str(caught.value)


def test_a_text_that_is_too_long_is_told(pipeline):
    load_prior(pipeline, prompt="abcdef")  # 8 tokens with start and end
    with pytest.warns(UserWarning, match=r"^prompt has 9 tokens, .* takes 6 \(8 with start and end\): 'ghi' is cut"):
        load_prior(pipeline, prompt="abcdefghi")
    with pytest.warns(UserWarning, match="^negative_prompt has 7 tokens"):
        load_prior(pipeline, prompt="a", negative_prompt="abcdefg")


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"prompt": ["a", "b"]}, r"prompt must be one text, but got \['a', 'b'\]. Load one prior per text"),
        ({"prompt": 5}, "prompt must be one text, but got 5"),
        ({"prompt": "a", "negative_prompt": ["b"]}, "negative_prompt must be one text"),
        ({"prompt": "a", "guidance": float("nan")}, "guidance must be a number >= 0, .* got nan"),
        ({"prompt": "a", "guidance": -1}, "guidance must be a number >= 0, .* got -1"),
        ({"prompt": "a", "guidance": "7"}, "guidance must be a number >= 0, .* got '7'"),
    ],
)
def test_texts_and_guidance_that_cannot_be(pipeline, given, says):
    with pytest.raises(ValueError, match=says) as caught:
        load_prior(pipeline, **given)
    assert "\n" not in str(caught.value)


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_scheduler_of_a_folder_is_the_one_that_is_named(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    index, kind = tmp_path / "model_index.json", type(pipeline.scheduler).__name__
    edit(index, scheduler=["diffusers", "EulerDiscreteScheduler"])
    with pytest.warns(UserWarning, match=f"names a EulerDiscreteScheduler for the scheduler, but .* is of a {kind}"):
        load_prior(tmp_path, prompt="a")
    for name, says in (("LCMScheduler", "distilled models"), ("EDMEulerScheduler", "which makes other noise")):
        edit(index, scheduler=["diffusers", name])
        with pytest.raises(ValueError, match=f"names a {name} for the scheduler, but .*{says}"):
            load_prior(tmp_path, prompt="a")
    edit(index, scheduler=["diffusers", kind])
    diffusers.LCMScheduler().save_pretrained(tmp_path / "scheduler")
    with pytest.raises(ValueError, match="scheduler_config.json: the scheduler LCMScheduler is one for distilled"):
        load_prior(tmp_path, prompt="a")


def test_parts_of_a_text_folder(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=rf"unet is a part of a pipeline .*load_prior\('{tmp_path}', prompt="):
        load_prior(tmp_path / "unet", prompt="a")
    (tmp_path / "pytorch_lora_weights.safetensors").write_bytes(b"x")
    with pytest.warns(UserWarning, match="pytorch_lora_weights.safetensors is of a LoRA .* not applied"):
        load_prior(tmp_path, prompt="a")
    edit(tmp_path / "model_index.json", _class_name="LatentConsistencyModelPipeline")
    with pytest.raises(ValueError, match="of a LatentConsistencyModelPipeline; .* distilled: .* it has no score"):
        load_prior(tmp_path, prompt="a")
    edit(tmp_path / "model_index.json", _class_name="StableDiffusionPipeline")
    (tmp_path / "text_encoder").rename(tmp_path / "away")
    with pytest.raises(FileNotFoundError, match="text_encoder is missing, a part that model_index.json names"):
        load_prior(tmp_path, prompt="a")
