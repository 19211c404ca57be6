"""Folders and files of other frameworks: what they are and what to do, in one step."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from scorereg import load_prior
from scorereg.priors import linear_betas

UNET = ("conv_in.weight", "down_blocks.0.resnets.0.conv1.weight")


def refused(path: Path, says: str, **given) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=says) as caught:
        load_prior(path, **given)
    assert "\n" not in str(caught.value)


def tensors(path: Path, *names: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: torch.zeros(2) for name in names}, path)


def write(path: Path, data: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["pytorch_lora_weights.safetensors", "adapter_model.safetensors"])
@pytest.mark.parametrize("below", [".", "lora"])
def test_a_lora(name, below, tmp_path):
    tensors(tmp_path / below / name, "unet.to_q.lora_A.weight")
    refused(tmp_path, r"holds a LoRA .*pipeline.load_lora_weights\('.*'\); pipeline.fuse_lora\(\); load_prior\(pipe")


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (UNET, "a diffusers network without its config.json.*from_diffusers"),
        (("a.weight", "b.weight"), "scorereg.wrap"),
    ],
)
def test_a_state_of_accelerate(names, says, tmp_path):
    tensors(tmp_path / "model.safetensors", *names)
    for other in ("optimizer.bin", "scheduler.bin", "random_states_0.pkl"):
        write(tmp_path / other)
    refused(tmp_path, rf"a state of training, as accelerate's save_state writes it: .*{says}")


def test_shards_have_to_be_gathered(tmp_path):
    write(tmp_path / "ds" / "zero_to_fp32.py")
    write(tmp_path / "ds" / "global_step5" / "mp_rank_00_model_states.pt")
    for folder in (tmp_path / "ds", tmp_path / "ds" / "global_step5", tmp_path):
        top = tmp_path if folder == tmp_path else tmp_path / "ds"
        refused(folder, rf"holds shards of DeepSpeed. Gather them: python {top}.*zero_to_fp32.py")
    write(tmp_path / "f" / "pytorch_model_fsdp_0" / "__0_0.distcp")
    for folder in (tmp_path / "f", tmp_path / "f" / "pytorch_model_fsdp_0"):
        refused(folder, r"checkpoint of torch \(FSDP\). .*dcp_to_torch .*pytorch_model_fsdp_0 model.pt")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("model.onnx", "a network of ONNX"),
        ("unet/model.onnx", "a network of ONNX"),
        ("unet.engine", "an engine of TensorRT"),
        ("saved_model.pb", "a SavedModel of TensorFlow"),
        ("ckpt-1.index", "a checkpoint of TensorFlow"),
        ("diffusion_flax_model.msgpack", "a file of Flax"),
        ("_CHECKPOINT_METADATA", "a checkpoint of Orbax"),
        ("openvino_model.xml", "a network of OpenVINO"),
        ("Data/x.mlmodel", "Core ML"),
        ("a.png", "holds no prior, but a.png. A prior's folder has card.json"),
    ],
)
def test_folders_of_other_frameworks(name, says, tmp_path):
    write(tmp_path / name)
    refused(tmp_path, says)


FILES = {
    "model.onnx": (b"\x08\x08", r"a network of ONNX. It runs in a library of its own: wrap a function that calls it"),
    "unet.plan": (b"ftrt", "an engine of TensorRT"),
    "unet.mlmodel": (b"\x08", "a network of Core ML"),
    "model.h5": (b"\x89HDF\r\n\x1a\n", "a file of HDF5, as Keras writes"),
    "model.pt": (b"\x89HDF\r\n\x1a\n", "a file of HDF5, as Keras writes"),
    "model.msgpack": (b"\x83", r"a file of Flax \(JAX\). .*from_flax=True"),
    "model.gguf": (b"GGUF", "a file of GGUF"),
    "model.safetensors": (b"GGUF\3\0\0\0" + b"\0" * 50, "a file of GGUF"),
    "model.tflite": (b"\x1c\0\0\0TFL3", "TensorFlow Lite"),
    "photo.png": (b"\x89PNG\r\n\x1a\n", "an image, and no network"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_other_frameworks(name, tmp_path):
    data, says = FILES[name]
    refused(write(tmp_path / name, data), says)


def test_archives_of_other_frameworks(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("model.weights.h5", b"x")
    refused(tmp_path / "m.keras", "a network of Keras")
    with zipfile.ZipFile(tmp_path / "m.pt2", "w") as archive:
        archive.writestr("m/archive_format", b"pt2")
    refused(tmp_path / "m.pt2", r"torch.export. Wrap it: scorereg.wrap\(torch.export.load\(file\).module\(\)")
    np.savez(tmp_path / "w.npz", a=np.zeros(3))
    refused(tmp_path / "w.npz", r"arrays of NumPy. .*torch.from_numpy")


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ({"_class_name": "ControlNetModel"}, "ControlNetModel, .* It is an adapter"),
        ({"_class_name": "AutoencoderKL"}, "AutoencoderKL, .* It is an autoencoder, .* whole pipeline"),
        ({"architectures": ["CLIPTextModel"]}, "of a CLIPTextModel, .* an encoder of texts .* with prompt="),
        ({"_class_name": "FluxTransformer2DModel"}, "a transformer that denoises latents under a condition"),
        ({"_class_name": "DiTTransformer2DModel"}, "a transformer that denoises latents"),
        ({"_class_name": "UNetSpatioTemporalConditionModel"}, "latents of a video"),
        ({"_class_name": "FlaxUNet2DConditionModel"}, "a network of Flax"),
        ({"_class_name": "SomethingElse"}, "Wrap it: scorereg.wrap"),
        ({}, "of no class that it names"),
    ],
)
def test_folders_of_other_models(kind, says, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(kind))
    tensors(tmp_path / "diffusion_pytorch_model.safetensors", "x.weight")
    refused(tmp_path, says)


@pytest.mark.parametrize("text", [True, False])
def test_pipelines_of_transformers(text, tmp_path):
    parts = {name: ["diffusers", "X"] for name in ("transformer", "vae", "scheduler")}
    parts |= {"text_encoder": ["transformers", "CLIPTextModel"]} if text else {}
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline", **parts}))
    refused(tmp_path, "of a FluxPipeline.* wrap its network with its conditions bound")


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["control_model.input_blocks.0.0.weight"], "a ControlNet"),
        (["model.diffusion_model.joint_blocks.0.x.weight"], "a transformer over latents .Stable Diffusion 3, Flux"),
        (["double_blocks.0.img_attn.qkv.weight"], "Flux"),
        (["input_blocks.0.0.weight", "label_emb.weight"], r"conditioned on a class.*y=torch.full"),
        (["text_model.embeddings.weight"], "an encoder of texts or images"),
        (["encoder.conv_in.weight", "quant_conv.weight"], "an autoencoder, which encodes images"),
        (["layer1.0.conv1.weight", "fc.weight"], "a classifier or encoder of images"),
        (["<cat>"], "textual inversion.*load_textual_inversion"),
    ],
)
def test_files_of_parts(names, says, tmp_path):
    tensors(tmp_path / "file.safetensors", *names)
    refused(tmp_path / "file.safetensors", says)


def test_files_of_training(tmp_path):
    torch.save({"state_dict": {"net.a": torch.zeros(1)}, "pytorch-lightning_version": "2.0"}, tmp_path / "last.ckpt")
    refused(tmp_path / "last.ckpt", r"a checkpoint of Lightning, .*Module.load_from_checkpoint\(file\)")
    torch.save(torch.optim.Adam(torch.nn.Linear(1, 1).parameters()).state_dict(), tmp_path / "optimizer.bin")
    refused(tmp_path / "optimizer.bin", "the state of an optimizer")
    table = (1 - linear_betas()).cumprod(0)
    refused(tmp_path / "last.ckpt", "`betas` looks like alphas_cumprod", betas=table)


def test_parts_without_their_list(tmp_path):
    (tmp_path / "transformer").mkdir()
    (tmp_path / "transformer" / "config.json").write_text(json.dumps({"_class_name": "DiTTransformer2DModel"}))
    (tmp_path / "scheduler").mkdir()
    refused(tmp_path, "without its model_index.json, among them a DiTTransformer2DModel in transformer. It is a transf")
