"""Find a prior by name, file, folder, hub id, or make one of a model that is in memory."""

import os
import re
from pathlib import Path
from typing import Any, overload

import torch

from scorereg.priors.adapters.wrapped import WrappedPrior
from scorereg.priors.base import Prior
from scorereg.priors.card import CARD_FILE
from scorereg.priors.networks.edm import NetworkPrior

__all__ = ["load_prior", "shipped_priors"]

ZOO = Path(__file__).parent / "zoo"
CHECKPOINTS = (".pt", ".pth", ".ckpt")
WANTED = ["*.json", "*.txt", "*/*.safetensors", "diffusion_pytorch_model.safetensors"]  # not the same in one big file
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def shipped_priors() -> tuple[str, ...]:
    """Return the names of the priors that come with the package."""
    return tuple(sorted(path.parent.name for path in ZOO.glob(f"*/{CARD_FILE}")))


@overload
def load_prior(
    source: str | os.PathLike[str],
    device: str | torch.device = "cpu",
    *,
    autocast: bool = False,
    channels: tuple[str, ...] | None = None,
    prompt: str | None = None,
    guidance: float | int = 7.5,
    negative_prompt: str = "",
) -> NetworkPrior | WrappedPrior: ...


@overload
def load_prior(
    source: Any,
    device: str | torch.device = "cpu",
    *,
    autocast: bool = False,
    channels: tuple[str, ...] | None = None,
    prompt: str | None = None,
    guidance: float | int = 7.5,
    negative_prompt: str = "",
) -> Any: ...


def load_prior(
    source: Any,
    device: str | torch.device = "cpu",
    *,
    autocast: bool = False,
    channels: tuple[str, ...] | None = None,
    prompt: str | None = None,
    guidance: float | int = 7.5,
    negative_prompt: str = "",
) -> Any:
    """Load a prior, ready to denoise.

    | source                                             | what is read                                            |
    |----------------------------------------------------|---------------------------------------------------------|
    | a shipped prior's name (`shipped_priors()`)        | as below                                                |
    | a folder with `card.json`                          | a `NetworkPrior`, what `train-prior` writes             |
    | a folder with `model_index.json` or `config.json`  | diffusers: an unconditional pipeline, a model with its  |
    |                                                    | scheduler, or a `StableDiffusionPipeline`               |
    | `owner/name`, where no such folder is              | the same, from the hub                                  |
    | a file `.pt`, `.pth`, `.ckpt`                      | denoising-diffusion-pytorch                             |
    | a pipeline of diffusers                            | the same as its folder                                  |
    | a denoiser `D(x, sigma)`                           | EDM's networks, k-diffusion's wrappers, any callable    |

    What is none of these is wrapped by `scorereg.wrap`. A pickle that would run code is refused.

    Args:
        source: Where the prior is. A name wins over a folder of the same name; write `./name` for the folder.
        device: Where the weights go.
        autocast: Run the network in bfloat16 where torch finds that safe: scorereg's own and diffusers'.
        channels: Names of the channels, where neither a card nor their number says so.
        prompt: Text of a text-conditioned model; the prior is then one over latents, and `prior.transform` encodes.
        guidance: Scale of the classifier-free guidance.
        negative_prompt: Text that the guidance leads away from.

    Returns:
        A `NetworkPrior` or a `WrappedPrior`, both with `card`; a prior that is given is returned as it is.

    Raises:
        ValueError: If nothing of that name is found, it is not readable or not understood, or an argument means
            nothing for it.
        FileNotFoundError: If a folder lacks a file.
    """
    if not isinstance(source, str | os.PathLike):
        return _from_object(source, device, autocast, channels, prompt, guidance, negative_prompt)
    name = os.fspath(source)
    if name in shipped_priors():
        _unused(f"the shipped prior {name}", channels=channels, prompt=prompt)
        return NetworkPrior.load(ZOO / name, device=device, autocast=autocast)
    folder = Path(name) if Path(name).exists() else _download(name)
    if folder.suffix in CHECKPOINTS and folder.is_file():
        from scorereg.priors.adapters.lucidrains import load_lucidrains

        _unused(f"the checkpoint {name}", autocast=autocast, prompt=prompt)
        return load_lucidrains(folder, device, channels=channels)
    from scorereg.priors.adapters.diffusers import is_diffusers_folder, load_diffusers
    from scorereg.priors.adapters.latent import is_text_folder, load_text_pipeline

    if is_text_folder(folder):
        _unused(f"the latent model {name}", channels=channels, autocast=autocast)
        return load_text_pipeline(
            folder, prompt=prompt, guidance=guidance, negative_prompt=negative_prompt, device=device
        )
    _unused(f"the unconditional prior {name}", prompt=prompt)
    if is_diffusers_folder(folder):
        return load_diffusers(folder, channels=channels, device=device, autocast=autocast)
    _unused(f"{name}, whose card says what it needs", channels=channels)
    return NetworkPrior.load(folder, device=device, autocast=autocast)


def _from_object(
    source: Any,
    device: str | torch.device,
    autocast: bool,
    channels: tuple[str, ...] | None,
    prompt: str | None,
    guidance: float | int,
    negative_prompt: str,
) -> Any:
    from scorereg.priors.adapters.diffusers import from_diffusers
    from scorereg.priors.adapters.karras import from_denoiser
    from scorereg.priors.adapters.latent import from_text_pipeline

    name = type(source).__name__
    if isinstance(source, Prior):
        _unused("a prior that is one already", channels=channels, autocast=autocast, prompt=prompt)
        return source
    if hasattr(source, "text_encoder"):
        _unused(f"a {name}", channels=channels, autocast=autocast)
        return from_text_pipeline(
            source, prompt=prompt, guidance=guidance, negative_prompt=negative_prompt, device=device
        )
    _unused(f"a {name}", prompt=prompt)
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
        if value:
            raise ValueError(f"{name}={value!r} means nothing for {what}. Leave it out.")


def _download(name: str) -> Path:
    if not HUB_ID.fullmatch(name) or Path(name).suffix in CHECKPOINTS:
        known = ", ".join(shipped_priors()) or "none"
        raise ValueError(f"no prior is called {name!r} and no such folder exists. Shipped are: {known}.")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=WANTED, ignore_patterns=["*.fp16.*", "*non_ema*"]))
    except Exception as error:  # offline, unknown, private: each has its own type
        reason = " ".join(str(error).split())[:160]
        raise ValueError(
            f"there is no folder {name!r}, and the hub does not give a model of that name ({reason}). "
            "Check the name, or go online once: what was fetched is kept."
        ) from None
