"""`load_prior`: a prior from a name, a file, a folder, a hub id, or a model in memory."""

import os
import re
from pathlib import Path
from typing import Any

import torch

from scorereg.priors.adapters.wrapped import WrappedPrior
from scorereg.priors.base import Prior
from scorereg.priors.card import CARD_FILE
from scorereg.priors.networks.edm import NetworkPrior

__all__ = ["load_prior", "shipped_priors"]

ZOO = Path(__file__).parent / "zoo"
CHECKPOINTS = (".pt", ".pth", ".ckpt")
WANTED = ["*.json", "*.txt", "*/*.safetensors", "diffusion_pytorch_model.safetensors"]  # no second copy of the weights
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def shipped_priors() -> tuple[str, ...]:
    """Return the names of the priors that come with the package."""
    return tuple(sorted(path.parent.name for path in ZOO.glob(f"*/{CARD_FILE}")))


def load_prior(
    source: Any,
    device: str | torch.device = "cpu",
    *,
    autocast: bool = False,
    channels: tuple[str, ...] | None = None,
    prompt: str | None = None,
    guidance: float | int = 7.5,
    negative_prompt: str = "",
) -> NetworkPrior | WrappedPrior | Any:
    """Load a prior in evaluation mode.

    | source                                             | what is read                                            |
    |----------------------------------------------------|---------------------------------------------------------|
    | name of a shipped prior (`shipped_priors()`)       | as below                                                |
    | folder with `card.json`                            | a `NetworkPrior`, as `train-prior` writes it            |
    | folder with `model_index.json` or `config.json`    | diffusers: an unconditional pipeline, a model with its  |
    |                                                    | scheduler, or a `StableDiffusionPipeline`               |
    | `owner/name`, if there is no such folder           | the same, from the Hugging Face hub                     |
    | file `.pt`, `.pth`, `.ckpt`                        | a checkpoint of denoising-diffusion-pytorch             |
    | diffusers pipeline                                 | the same as its folder                                  |
    | denoiser `D(x, sigma)`                             | EDM's networks, k-diffusion's wrappers, any callable    |

    Other models: `scorereg.wrap`. No code of a file is run: a pickle that names a function is refused.

    Args:
        source: The prior. A shipped name takes precedence over a folder of that name; write `./name` for the folder.
        device: Device of the weights.
        autocast: Run the network in bfloat16 where torch's autocast does; for scorereg's and diffusers' networks.
        channels: Channel names, where neither a card nor their number determines them.
        prompt: Text for a text-conditioned model, whose prior is one over latents with `prior.transform` as encoder.
        guidance: Scale of the classifier-free guidance, with `prompt`.
        negative_prompt: Text in place of the empty one, with `prompt`.

    Returns:
        A `NetworkPrior` or a `WrappedPrior`, both with `card`. If `source` is a prior, the same object.

    Raises:
        ValueError: If nothing of that name is found, it cannot be read or is of an unsupported kind, or an argument
            does not apply to it.
        FileNotFoundError: If a file of the folder is missing.
    """
    text: dict[str, Any] = {"prompt": prompt, "guidance": guidance, "negative_prompt": negative_prompt}
    if not isinstance(source, str | os.PathLike):
        return _from_object(source, device, autocast, channels, text)
    name = os.fspath(source)
    if name in shipped_priors():
        _unused(f"the shipped prior {name}", channels=channels, **text)
        return NetworkPrior.load(ZOO / name, device=device, autocast=autocast)
    folder = Path(name) if Path(name).exists() else _download(name)
    if folder.suffix in CHECKPOINTS and folder.is_file():
        from scorereg.priors.adapters.lucidrains import load_lucidrains

        _unused(f"the checkpoint {name}", autocast=autocast, **text)
        return load_lucidrains(folder, device, channels=channels)
    from scorereg.priors.adapters.diffusers import is_diffusers_folder, load_diffusers
    from scorereg.priors.adapters.latent import is_text_folder, load_text_pipeline

    if is_text_folder(folder):
        _unused(f"the latent model {name}", channels=channels, autocast=autocast)
        return load_text_pipeline(folder, device=device, **text)
    _unused(f"the unconditional prior {name}", **text)
    if is_diffusers_folder(folder):
        return load_diffusers(folder, channels=channels, device=device, autocast=autocast)
    _unused(f"{name}, whose card names them", channels=channels)
    return NetworkPrior.load(folder, device=device, autocast=autocast)


def _from_object(
    source: Any, device: str | torch.device, autocast: bool, channels: tuple[str, ...] | None, text: dict[str, Any]
) -> Any:
    from scorereg.priors.adapters.diffusers import from_diffusers
    from scorereg.priors.adapters.karras import from_denoiser
    from scorereg.priors.adapters.latent import from_text_pipeline

    name = type(source).__name__
    if isinstance(source, Prior):
        _unused("a prior in memory", channels=channels, autocast=autocast, **text)
        return source
    if hasattr(source, "text_encoder"):
        _unused(f"a {name}", channels=channels, autocast=autocast)
        return from_text_pipeline(source, device=device, **text)
    _unused(f"a {name}", **text)
    if hasattr(source, "unet") and hasattr(source, "scheduler"):
        return from_diffusers(
            source.unet, source.scheduler, name=name, channels=channels, device=device, autocast=autocast
        )
    if callable(source) and not hasattr(source, "config"):
        _unused(f"a {name}", autocast=autocast)
        return from_denoiser(source, channels=channels, device=device)
    raise ValueError(
        f"load_prior got a {name}, which does not say how its noise is made. Give a pipeline, a "
        "folder, or a denoiser D(x, sigma); or say it: scorereg.wrap(network, prediction=..., betas=..., ...)."
    )


def _unused(what: str, **given: Any) -> None:
    for name, value in given.items():
        if value and (name, value) != ("guidance", 7.5):  # its default
            raise ValueError(f"{name}={value!r} means nothing for {what}. Leave it out.")


def _download(name: str) -> Path:
    if not HUB_ID.fullmatch(name) or Path(name).suffix in CHECKPOINTS:
        known = ", ".join(shipped_priors()) or "none"
        raise ValueError(f"no prior is called {name!r} and no such folder exists. Shipped are: {known}.")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=WANTED, ignore_patterns=["*.fp16.*", "*non_ema*"]))
    except Exception as error:  # offline, unknown and private repositories have no common type of error
        reason = " ".join(str(error).split())[:160]
        raise ValueError(
            f"there is no folder {name!r}, and the hub gives no model of that name ({reason}). "
            "Check the name, or go online once: downloaded files are kept."
        ) from None
