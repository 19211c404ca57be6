"""Models of the Hugging Face hub, downloaded as far as a prior needs them."""

import re
from pathlib import Path

__all__ = ["download", "is_hub_id"]

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_FILES = re.compile(r"\.(pt|pth|ckpt|bin|safetensors|pkl)$")
_PARTS = ("unet", "vae", "vqvae", "text_encoder")
_SETTINGS = ["*.json", "*.txt"]
# In this order, until the network has weights: plain ones, variants of them, pickles. Never two copies.
_WEIGHTS = (
    (["*/*.safetensors", "diffusion_pytorch_model*.safetensors"], ["*.fp16*", "*.bf16*", "*non_ema*"]),
    (["*/*.safetensors", "diffusion_pytorch_model*.safetensors"], ["*non_ema*"]),
    (["*/*.bin", "diffusion_pytorch_model*.bin"], ["*.fp16*", "*.bf16*", "*non_ema*"]),
    (["*/*.bin", "diffusion_pytorch_model*.bin"], []),
)


def is_hub_id(name: str) -> bool:
    """Return whether a name has the form of a model's on the hub, `owner/name`, and not that of a file."""
    return bool(_ID.fullmatch(name)) and not _FILES.search(name)


def download(name: str) -> Path:
    """Return the folder of a model from the hub, or of its copy from an earlier download.

    Args:
        name: `owner/name`.

    Raises:
        ValueError: If the hub cannot be reached, or has no such model.
    """
    from huggingface_hub import snapshot_download

    folder = Path()
    for patterns, ignored in _WEIGHTS:
        try:
            folder = Path(snapshot_download(name, allow_patterns=[*_SETTINGS, *patterns], ignore_patterns=ignored))
        except Exception as error:  # offline, unknown and private repositories have no common type of error
            reason = " ".join(str(error).split())[:160]
            raise ValueError(
                f"there is no file or folder {name!r}, and the hub gives no model of that name ({reason}). "
                "Check the name, or go online once: downloaded files are kept."
            ) from None
        if _complete(folder):
            break
    return folder


def _complete(folder: Path) -> bool:
    """Whether each network of a prior that has its configuration there has weights, too."""
    parts = [path.parent for path in folder.glob("*/config.json") if path.parent.name in _PARTS]
    places = parts or [path.parent for path in folder.glob("config.json")]
    return bool(places) and all(any(place.glob("*.safetensors")) or any(place.glob("*.bin")) for place in places)
