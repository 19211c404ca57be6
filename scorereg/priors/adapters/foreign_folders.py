"""Folders of other programs that hold a network or a part of its training: what they are, and the one step to take."""

import warnings
from pathlib import Path

from scorereg._io import read_json
from scorereg.priors.adapters.foreign_models import cure_of_model
from scorereg.priors.card import CARD_FILE
from scorereg.priors.weights import other_format

__all__ = ["foreign_folder", "warn_of_adapter"]

_WRAP = "wrap a function that calls it, scorereg.wrap(lambda z, t: ..., ...)"
_MARKS = (  # a pattern of names, what the folder is, and what to do
    ("saved_model.pb", "a SavedModel of TensorFlow", "Take the weights that torch wrote"),
    ("*.data-00000-of-*", "a checkpoint of TensorFlow", "Take the weights that torch wrote"),
    ("ckpt*.index", "a checkpoint of TensorFlow", "Take the weights that torch wrote"),
    ("_CHECKPOINT_METADATA", "a checkpoint of Orbax (JAX)", "Take the weights that torch wrote"),
    ("_METADATA", "a checkpoint of Orbax (JAX)", "Take the weights that torch wrote"),
    ("openvino_*.xml", "a network of OpenVINO", f"It runs in a library of its own: {_WRAP}"),
)
_ADAPTERS = ("adapter_config.json", "pytorch_lora_weights.*", "adapter_model.*")
_PARTS = ("transformer", "prior", "controlnet", "vae", "text_encoder")  # of a pipeline, a network first
_LORA = (
    "Load it into the pipeline that it was made for, and pass that: pipeline.load_lora_weights({folder!r}); "
    "pipeline.fuse_lora(); load_prior(pipeline)"
)


def foreign_folder(folder: Path) -> str | None:
    """Return the error for a folder that another program wrote; None for any other.

    Args:
        folder: A folder without a configuration of its own.
    """
    text = _distributed(folder) or _adapter(folder) or _framework(folder) or _part(folder)
    return None if text is None else f"{text}."


def _distributed(folder: Path) -> str | None:
    """Shards of DeepSpeed and FSDP, which have to be gathered first."""
    for place in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
        if _has(place, "*_model_states.pt", "*zero_pp_rank_*", "zero_to_fp32.py"):
            top = place if (place / "zero_to_fp32.py").is_file() else place.parent
            return (
                f"{folder} holds shards of DeepSpeed. Gather them: python {top / 'zero_to_fp32.py'} {top} model.bin, "
                "load those into the network, and wrap it, or give the file"
            )
        if _has(place, "*.distcp"):
            call = f"python -m torch.distributed.checkpoint.format_utils dcp_to_torch {place} model.pt"
            return f"{folder} holds a distributed checkpoint of torch (FSDP). Make one file of it: {call}"
    return None


def _adapter(folder: Path) -> str | None:
    if not _has(folder, *_ADAPTERS):
        return None
    cure = _LORA.format(folder=str(folder))
    return f"{folder} holds a LoRA (an adapter), which is a change of another network's weights. {cure}"


def warn_of_adapter(folder: Path) -> None:
    """Warn of a LoRA in the folder of a pipeline, whose network is read without it.

    Args:
        folder: The pipeline's.
    """
    for place in (folder, folder / "unet"):
        found = [path for pattern in _ADAPTERS for path in sorted(place.glob(pattern))]
        if found:
            warnings.warn(
                f"{found[0]} is of a LoRA (an adapter), which is not applied. {_LORA.format(folder=str(place))}; or "
                "remove it.",
                stacklevel=3,
            )


def _part(folder: Path) -> str | None:
    """The network of a pipeline without its list of parts, `model_index.json`."""
    for name in _PARTS:
        path = folder / name / "config.json"
        if path.is_file() and not (folder / name / CARD_FILE).is_file():  # a folder of ours has a card
            settings = read_json(path, "Copy or download it again.")
            named = settings.get("_class_name") or settings.get("architectures")
            kind = str(named[0] if isinstance(named, list) and named else named or "network of no class")[:80]
            return (
                f"{folder} holds parts of a pipeline without its model_index.json, among them a {kind} in {name}. "
                f"{cure_of_model(kind).removesuffix('.')}"
            )
    return None


def _framework(folder: Path) -> str | None:
    if folder.suffix == ".mlpackage" or (_has(folder, "Manifest.json") and (folder / "Data").is_dir()):
        return f"{folder} is a network of Core ML. It runs in a library of its own: {_WRAP}"
    for pattern, kind, cure in _MARKS:
        if _has(folder, pattern):
            return f"{folder} holds {kind}. {cure}"
    files = sorted(path for path in folder.iterdir() if path.is_file())
    if any(path.suffix in (".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".pkl", ".json") for path in files):
        return None
    return next((text for path in files if (text := other_format(path)) is not None), None)


def _has(folder: Path, *patterns: str) -> bool:
    return any(True for pattern in patterns for _ in folder.glob(pattern))
