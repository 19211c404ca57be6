"""`load_prior`: a prior from a name, a file, a folder, a hub id, or a model in memory."""

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scorereg._device import check_device
from scorereg._io import read_json
from scorereg.priors.adapters.objects import check_pair, prior_of_object
from scorereg.priors.adapters.wrapped import WrappedPrior
from scorereg.priors.arguments import check_depth, check_values, named_path, only
from scorereg.priors.card import CARD_FILE
from scorereg.priors.networks.edm import NetworkPrior
from scorereg.priors.networks.storage import WEIGHTS_FILE
from scorereg.priors.weights import check_finite_module

__all__ = ["load_prior", "shipped_priors"]

ZOO = Path(__file__).parent / "zoo"


def shipped_priors() -> tuple[str, ...]:
    """Return the names of the priors that come with the package."""
    return tuple(sorted(path.parent.name for path in ZOO.glob(f"*/{CARD_FILE}")))


def load_prior(
    source: Any,
    device: str | torch.device = "cpu",
    *,
    autocast: bool = False,
    channels: tuple[str, ...] | None = None,
    size: tuple[int, ...] | None = None,
    d_min: float | int | None = None,
    data_range: tuple[float | int, float | int] | None = None,
    prediction: str | None = None,
    betas: Any = None,
    groups: int | None = None,
    version: str | None = None,
    variant: str | None = None,
    prompt: str | None = None,
    guidance: float | int = 7.5,
    negative_prompt: str = "",
) -> NetworkPrior | WrappedPrior | Any:
    """Load a prior, which denoises in evaluation mode, whatever mode its network is put into later.

    | source                                             | what is read                                            |
    |----------------------------------------------------|---------------------------------------------------------|
    | name of a shipped prior (`shipped_priors()`)       | as below                                                |
    | folder with `card.json`                            | a `NetworkPrior`, as `train-prior` writes it            |
    | folder with `model_index.json` or `config.json`    | diffusers: an unconditional pipeline, also of latents,  |
    |                                                    | a model with its scheduler, a training checkpoint, or a |
    |                                                    | `StableDiffusionPipeline`                               |
    | `owner/name`, if there is no such folder           | the same, from the Hugging Face hub                     |
    | a file                                             | a checkpoint of denoising-diffusion-pytorch; of the     |
    |                                                    | weights beside a `card.json`, their folder              |
    | diffusers pipeline, `GaussianDiffusion`            | the same as its folder or file                          |
    | denoiser `D(x, sigma)`                             | EDM's networks, k-diffusion's wrappers, deepinv's       |
    |                                                    | denoisers, any callable                                 |

    Other models: `scorereg.wrap`. No code of a file is run: a pickle that names a function is refused. The arguments
    from `channels` to `variant` say what a source does not say; one that contradicts it, or means nothing for it, is an
    error. What was assumed is on the prior's card (`card.assumed`).

    Args:
        source: The prior. A shipped name takes precedence over a folder of that name; write `./name` for the folder.
            A model in memory is not copied: it is put into evaluation mode and moved to the device.
        device: Device of the weights.
        autocast: Run the network in bfloat16 where torch's autocast does; for scorereg's and diffusers' networks.
        channels: Channel names, where neither a card nor their number determines them.
        size: Spatial shape of a training patch in pixels, for a source that does not have it.
        d_min: Depth in metres at which disparity is 1, for a source without a card.
        data_range: Values of the network's data that are -1 and 1 in prior space; by default -1 and 1.
        prediction: What the network predicts: `"epsilon"`, `"sample"` or `"v_prediction"`.
        betas: Noise table of the training, such as `linear_betas()`.
        groups: Groups of the group norms in a checkpoint of denoising-diffusion-pytorch.
        version: Version of denoising-diffusion-pytorch that wrote a checkpoint.
        variant: Which weights of a diffusers folder, if there are several: `"fp16"`.
        prompt: Text for a text-conditioned model, whose prior is one over latents with `prior.transform` as encoder.
        guidance: Scale of the classifier-free guidance, with `prompt`.
        negative_prompt: Text in place of the empty one, with `prompt`.

    Returns:
        A `NetworkPrior` or a `WrappedPrior`, both with `card`. If `source` is a prior, the same object.

    Raises:
        ValueError: If nothing of that name is found, it cannot be read or is of an unsupported kind, does not say
            something that is needed, or an argument does not apply to it.
        FileNotFoundError: If a file of the folder is missing.
    """
    check_values(channels, size, d_min, autocast)
    check_pair(source, device)
    check_device(device)
    given: dict[str, Any] = {
        "channels": channels and tuple(channels), "size": size and tuple(size), "d_min": d_min,
        "data_range": data_range, "prediction": prediction, "betas": betas, "groups": groups, "version": version,
        "variant": variant, "autocast": autocast or None, "prompt": prompt,
        "guidance": None if guidance == 7.5 else guidance, "negative_prompt": negative_prompt or None,
    }  # fmt: skip
    if isinstance(source, str | os.PathLike):
        prior = _of_name(named_path(source), device, given)
    else:
        prior = prior_of_object(source, device, given)
    if prior is source and isinstance(source, nn.Module):
        check_finite_module(source, type(source).__name__)
    check_depth(d_min, prior.channels)
    return prior


def _of_name(name: str, device: str | torch.device, given: dict[str, Any]) -> Any:
    if not name:
        raise ValueError(
            f"the name of the prior is empty. Name a folder, a file, or one of {', '.join(shipped_priors())}."
        )
    if name in shipped_priors():
        return NetworkPrior.load(ZOO / name, device=device, **only(f"the shipped prior {name}", given, "autocast"))
    path = Path(name)
    if path.name == WEIGHTS_FILE and (path.parent / CARD_FILE).is_file() and path.is_file():
        return _of_folder(path.parent, str(path.parent), device, given)
    if path.is_file():
        from scorereg.priors.adapters.lucidrains import load_lucidrains

        known = ("channels", "size", "d_min", "data_range", "prediction", "betas", "groups", "version")
        return load_lucidrains(path, device, **only(f"the checkpoint {name}", given, *known))
    return _of_folder(path if path.exists() else _downloaded(name), name, device, given)


def _of_folder(folder: Path, name: str, device: str | torch.device, given: dict[str, Any]) -> Any:
    from scorereg.priors.adapters.diffusers_folder import load_diffusers
    from scorereg.priors.adapters.diffusers_layout import check_card_of_pipeline, is_diffusers_folder
    from scorereg.priors.adapters.latent import check_part, is_text_folder, load_text_pipeline
    from scorereg.priors.folder_hint import hint_of_folder, hint_of_scheduler

    if folder.is_dir() and not any(folder.iterdir()):
        raise FileNotFoundError(f"{folder} is an empty folder. Name the one with the prior's files.")
    if (hint := hint_of_scheduler(folder)) is not None:
        raise FileNotFoundError(hint)
    if is_text_folder(folder):
        known = only(f"the latent model {name}", given, "prompt", "guidance", "negative_prompt", "variant")
        return load_text_pipeline(folder, device=device, **{"prompt": None, **known})
    check_part(folder)
    if _is_edm(folder):
        check_card_of_pipeline(folder)
    elif is_diffusers_folder(folder):
        known = ("channels", "size", "d_min", "data_range", "prediction", "betas", "variant", "autocast")
        return load_diffusers(folder, device=device, **only(f"the unconditional prior {name}", given, *known))
    if (hint := hint_of_folder(folder)) is not None:
        raise FileNotFoundError(hint)
    return NetworkPrior.load(folder, device=device, **only(f"{name}, whose card says it", given, "autocast"))


def _is_edm(folder: Path) -> bool:
    """Whether a card says that the network was trained here by EDM, whatever its scheduler's file says."""
    path = folder / CARD_FILE
    return path.is_file() and read_json(path, "Restore the card that came with the prior.").get("prediction") == "edm"


def _downloaded(name: str) -> Path:
    from scorereg.priors.download import download, is_hub_id

    if not is_hub_id(name):
        known = ", ".join(shipped_priors()) or "none"
        near = [f"Did you mean {n!r}? " for n in shipped_priors() if n == name.strip().strip("/").lower()]
        raise ValueError(
            f"no prior is called {name!r} and no such file or folder exists. {''.join(near)}Shipped are: {known}."
        )
    return download(name)
