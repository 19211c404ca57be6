"""Checkpoints of other programs are named, with what to do."""

import io
from pathlib import Path

import pytest
import safetensors.torch
import torch

from scorereg import PriorCard, load_prior
from scorereg.training.export import open_prior


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (
            ["input_blocks.0.0.weight", "time_embed.0.weight"],
            r"OpenAI's guided-diffusion .* create_model_and_diffusion",
        ),
        (["model.input_blocks.0.0.weight", "ema_rate"], "OpenAI's guided-diffusion"),
        (["model.diffusion_model.input_blocks.0.0.weight"], r"latent diffusion \(CompVis\).*from_single_file"),
        (["first_stage_model.encoder.conv_in.weight"], "latent diffusion"),
        (["conv_in.weight", "down_blocks.0.resnets.0.conv1.weight"], "diffusers network without its config.json"),
        (["unet.down_blocks.1.attentions.0.to_q.lora_A.weight"], "a LoRA, .*load_lora_weights"),
        (["lora_unet_down_blocks_0_attentions_0.lora_down.weight"], "a LoRA, .*load_lora_weights"),
        (["unet.down_blocks.1.attentions.0.to_q.weight"], "diffusers network without its config.json"),
        (["temb.dense.0.weight", "down.0.block.0.norm1.weight"], "original DDPM or DDIM code"),
        (["all_modules.0.W", "all_modules.3.weight"], r"score_sde \(Song et al.\)"),
        (["map_layer0.weight", "enc.32x32_conv.weight"], "EDM or EDM2.* load_prior"),
        (["x_embedder.proj.weight", "blocks.0.attn.qkv.weight"], "diffusion transformer"),
        (["m_head.weight", "m_down1.0.res.0.weight"], "DRUNet"),
        (["inner_model.proj_in.weight"], "k-diffusion"),
        (
            ["gt.blocks.0.weight", "alpha_t"],
            "2 tensors such as alpha_t and gt.blocks.0.weight, of no network that is rec",
        ),
        ([], "no tensors by name"),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_the_program_is_named(names, says, nested, tmp_path):
    state = {(f"module.{name}" if nested else name): torch.zeros(1) for name in names}
    path = tmp_path / "file.pth"
    torch.save({"state_dict": state} if nested else state, path)
    if nested:
        says = says.replace("alpha_t and gt", "state_dict.alpha_t and state_dict.gt")
    with pytest.raises(ValueError, match=f"file.pth holds .*{says}") as caught:
        load_prior(path)
    assert "\n" not in str(caught.value)
    assert any(word in str(caught.value) for word in ("wrap", "load", "from_diffusers"))


def test_a_weight_file_of_a_folder_names_the_folder(tmp_path):
    torch.save({"down_blocks.0.resnets.0.conv1.weight": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=rf"Give its folder: load_prior\('{tmp_path}'\)"):
        load_prior(tmp_path / "pytorch_model.bin")


def test_folders_of_training_runs(tmp_path):
    def says(text):
        with pytest.raises(FileNotFoundError, match=text) as caught:
            load_prior(tmp_path)
        assert "\n" not in str(caught.value)

    for name in ("model-9.pt", "model-10.pt", "model-2.pt", "optimizer.bin", "random_states_70.pkl"):
        (tmp_path / name).write_bytes(b"x")
    says(r"no prior, but 3 checkpoints. Give one: load_prior\('.*model-10.pt'\)")
    (tmp_path / "checkpoint-500").mkdir()
    (tmp_path / "checkpoint-1500").mkdir()
    says(r"holds 2 checkpoints of a training run. Give one: load_prior\('.*checkpoint-1500'\)")
    (tmp_path / "__0_0.distcp").write_bytes(b"x")
    says(r"distributed checkpoint of torch \(FSDP\). Make one file of it: python -m torch.distributed")


def test_a_folder_above_a_prior(tmp_path):
    (tmp_path / "prior").mkdir()
    (tmp_path / "prior" / "card.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"holds 1 folders with a prior. Give one: load_prior\('.*/prior'\)"):
        load_prior(tmp_path)


@pytest.mark.parametrize("home", ["~", "~nobody-of-this-name"])
def test_the_home_folder(home, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    load_prior("rays-64").save_pretrained("~/mine")
    assert (tmp_path / "mine" / "card.json").is_file()
    if home == "~":
        assert PriorCard.load("~/mine") == load_prior(Path("~/mine")).card == open_prior("~/mine").card
    with pytest.raises(ValueError, match="no prior is called .*x.pt"):
        load_prior(f"{home}/x.pt")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("https://huggingface.co/google/ddpm-cat-256", r"address of the hub. .*load_prior\('google/ddpm-cat-256'\)"),
        ("https://hf.co/google/ddpm/tree/main", r"load_prior\('google/ddpm'\)"),
        ("hf://google/ddpm", r"load_prior\('google/ddpm'\)"),
        ("https://huggingface.co/datasets/a/b", "is an address, which is not fetched"),
        ("file:///tmp/a%20b", r"Give the path: load_prior\('/tmp/a b'\)"),
        (Path("file:///tmp/a"), r"Give the path: load_prior\('/tmp/a'\)"),
        (Path("https://huggingface.co/google/ddpm"), r"load_prior\('google/ddpm'\)"),
        ("https://example.org/m.pt", "is an address, which is not fetched. Download it"),
        (b"/tmp/m.pt", "got bytes. A path is given as text"),
        (io.BytesIO(b"x"), r"got an open file \(BytesIO\). Give its path"),
        ("Rays-64 ", "Did you mean 'rays-64'?"),
    ],
)
def test_addresses_and_other_things_in_place_of_a_path(name, says):
    with pytest.raises(ValueError, match=says) as caught:
        load_prior(name)
    assert "\n" not in str(caught.value)


def test_files_of_a_fit(tmp_path):
    (tmp_path / "run").mkdir()
    tensors = {"field.center": torch.ones(3), "proposal.grid": torch.ones(2)}
    safetensors.torch.save_file(tensors, tmp_path / "run" / "weights.safetensors")
    for path in (tmp_path / "run", tmp_path / "run" / "weights.safetensors"):
        with pytest.raises((ValueError, OSError), match="weights.safetensors is of scorereg fit: the field of a scene"):
            load_prior(path)
    torch.save({"field": {"table": torch.ones(2)}}, tmp_path / "field.pt")
    with pytest.raises(ValueError, match="field.pt is of scorereg fit: the field of a scene, and no prior"):
        load_prior(tmp_path / "field.pt")
