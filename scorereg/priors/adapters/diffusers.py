"""Unconditional models of the diffusers library as priors: pipelines, model folders, and schedulers.

A scheduler is read for how the network was trained: betas, prediction target, and kind of time. Its settings for
sampling (`timestep_spacing`, `clip_sample`, `thresholding`, `steps_offset`, karras sigmas, `shift`) are ignored. A
table entry without signal, as after `rescale_betas_zero_snr`, is excluded from the range of levels.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scorereg._io import read_json
from scorereg.priors.adapters.wrapped import WrappedPrior, wrap
from scorereg.priors.card import CARD_FILE, PriorCard

__all__ = ["channel_names", "from_diffusers", "is_diffusers_folder", "load_diffusers", "scheduler_settings"]

MODELS = ("UNet2DModel", "UNet1DModel")
TABLES = (
    "DDPMScheduler",
    "DDIMScheduler",
    "PNDMScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler",
    "LMSDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "UniPCMultistepScheduler",
)
SCHEDULERS = (*TABLES, "EDMEulerScheduler", "FlowMatchEulerDiscreteScheduler")
PREDICTIONS = ("epsilon", "sample", "v_prediction")
MODEL_INDEX, CONFIG, SCHEDULER = "model_index.json", "config.json", "scheduler_config.json"


def scheduler_settings(scheduler: Any) -> dict[str, Any]:
    """Return the arguments of `wrap` for the noise and the prediction target of a diffusers scheduler.

    Also for networks of other classes: `wrap(network, channels=..., **scheduler_settings(scheduler))`.

    Args:
        scheduler: A scheduler of one of the classes `SCHEDULERS`.

    Raises:
        ValueError: If the scheduler, its prediction target or its kind of time is not supported.
    """
    name, config = type(scheduler).__name__, scheduler.config
    if name == "FlowMatchEulerDiscreteScheduler":
        steps = config.num_train_timesteps
        if config.get("invert_sigmas"):
            raise ValueError(f"{name} with invert_sigmas counts time backwards; wrap it by scorereg.wrap.")
        edges = (1 / (steps - 1), float(steps - 1))  # t = 1 / steps, and 1 - 1 / steps, as sigma = t / (1 - t)
        return {"prediction": "velocity", "flow": True, "time": lambda t: steps * t, "sigma_range": edges}
    if name not in SCHEDULERS:
        raise ValueError(
            f"the scheduler {name} is not supported; supported are {', '.join(SCHEDULERS)}. Use one of them with the "
            "same betas, or scorereg.wrap."
        )
    prediction = config.prediction_type
    if prediction not in PREDICTIONS or config.get("use_flow_sigmas"):
        raise ValueError(
            f"{name} with prediction_type={prediction!r} is not supported; supported are {', '.join(PREDICTIONS)}. "
            "Use scorereg.wrap."
        )
    if name == "EDMEulerScheduler":
        if prediction == "sample":
            raise ValueError(f"{name} knows prediction_type 'epsilon' and 'v_prediction', but got 'sample'.")
        return {  # its "epsilon" is EDM's F, and its "v_prediction" is -F
            "prediction": "edm" if prediction == "epsilon" else "v_prediction",
            "sigma_data": config.sigma_data,
            "sigma_range": (config.sigma_min, config.sigma_max),
        }
    if config.get("timestep_type", "discrete") == "continuous" and prediction == "v_prediction":
        edges = (config.sigma_min or 0.002, config.sigma_max or 700.0)
        return {"prediction": prediction, "sigma_data": 1.0, "sigma_range": edges}  # time is ln(sigma) / 4
    return {"prediction": prediction, "betas": scheduler.betas}


def from_diffusers(
    network: Any,
    scheduler: Any,
    *,
    name: str,
    channels: tuple[str, ...] | None = None,
    card: PriorCard | None = None,
    device: str | torch.device = "cpu",
    autocast: bool = False,
) -> WrappedPrior:
    """Make a prior of a U-Net and its scheduler; the network is put into evaluation mode and moved.

    Args:
        network: A `UNet2DModel` or `UNet1DModel`.
        scheduler: The scheduler that it was trained with.
        name: Name in the card and in errors.
        channels: Channel names; by default gray for 1 channel, and r, g, b for 3.
        card: The model's card, if it has one.
        device: Device of the network.
        autocast: Run the network in bfloat16 where torch's autocast does.

    Raises:
        ValueError: If network or scheduler are not supported, or the channels have no names.
    """
    kind = type(network).__name__
    if kind not in MODELS:
        raise ValueError(f"{name} holds a {kind}, but supported are {', '.join(MODELS)}. Use scorereg.wrap.")
    config = network.config
    if config.get("class_embed_type") or config.get("num_class_embeds"):
        raise ValueError(
            f"{name} is conditioned on a class. Choose one: scorereg.wrap(functools.partial(unet, class_labels=...), "
            "channels=..., **scorereg.priors.scheduler_settings(scheduler))."
        )
    if card is not None and channels not in (None, card.channels):
        raise ValueError(f"channels={channels} contradict the card of {name}, which says {card.channels}.")
    names = card.channels if card else channel_names(config.in_channels, channels, name)
    network = network.to(device).eval().requires_grad_(False)
    prior = wrap(
        _Autocast(network) if autocast else network,
        channels=names,
        size=_size(config.sample_size, 1 if kind == "UNet1DModel" else 2),
        card=card,
        **scheduler_settings(scheduler),
    )
    if card is None:
        prior.card = dataclasses.replace(prior.card, name=name)
    return prior


def channel_names(count: int, given: tuple[str, ...] | None, name: str) -> tuple[str, ...]:
    """Return the channels' names: those given, or the usual ones of 1 (gray) and 3 (r, g, b) channels.

    Raises:
        ValueError: If the number of names is wrong, or no names are given for another number of channels.
    """
    names = given or {1: ("gray",), 3: ("r", "g", "b")}.get(count)
    if names is None:
        raise ValueError(
            f"{name} has {count} channels without names. Name them: load_prior(..., channels=('r', 'g', ...))."
        )
    if len(names) != count:
        raise ValueError(f"{name} has {count} channels, but channels={tuple(names)} names {len(names)}.")
    return tuple(names)


def is_diffusers_folder(folder: Path) -> bool:
    """Return whether a folder is diffusers' own, not one of scorereg's: those are flat, with a card and EDM noise."""
    if (folder / MODEL_INDEX).is_file():
        return True
    path = folder / SCHEDULER
    if path.is_file():
        return _read_json(path).get("_class_name") != "EDMEulerScheduler"
    return (folder / CONFIG).is_file() and not (folder / CARD_FILE).is_file()


def load_diffusers(
    folder: Path,
    *,
    channels: tuple[str, ...] | None = None,
    device: str | torch.device = "cpu",
    autocast: bool = False,
) -> WrappedPrior:
    """Load a pipeline's folder (`model_index.json`, `unet/`, `scheduler/`), or a model's with its scheduler.

    Only JSON and weights are read: no code of the folder runs, and a pickle that names a function is refused.

    Args:
        folder: The folder. A model's scheduler is in the same folder or in `../scheduler`.
        channels: Channel names; not needed for 1 and 3 channels, or with a card.
        device: Device of the network.
        autocast: Run the network in bfloat16 where torch's autocast does.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file cannot be read, or its class is not supported.
    """
    pipeline = (folder / MODEL_INDEX).is_file()
    model, noise = (folder / "unet", folder / "scheduler") if pipeline else (folder, folder)
    if not pipeline and not (noise / SCHEDULER).is_file():
        noise = folder.parent / "scheduler"  # `folder` is the `unet` of a pipeline
    card = PriorCard.load(folder) if (folder / CARD_FILE).is_file() else None
    network = read_part(model, CONFIG, MODELS)
    scheduler = read_part(noise, SCHEDULER, SCHEDULERS)
    return from_diffusers(
        network, scheduler, name=folder.name, channels=channels, card=card, device=device, autocast=autocast
    )


def read_part(folder: Path, config: str, supported: tuple[str, ...]) -> Any:
    """Load a model or scheduler from its folder; its class must be one of those supported.

    Raises:
        FileNotFoundError: If its configuration or weights are missing.
        ValueError: If they cannot be read.
    """
    import diffusers

    refuse_code(folder)
    settings = _read_json(folder / config)
    name = settings.get("_class_name")
    if name not in supported:
        raise ValueError(f"{folder / config} is of a {name}, but supported are {', '.join(supported)}.")
    try:
        if config == SCHEDULER:
            return getattr(diffusers, name).from_config(settings)
        safe = any(folder.glob("*.safetensors"))  # else a pickle, from which torch loads only tensors
        return getattr(diffusers, name).from_pretrained(
            folder, local_files_only=True, low_cpu_mem_usage=False, use_safetensors=safe
        )
    except Exception as error:  # diffusers, safetensors, torch and pickle have no common type of error
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        kind = FileNotFoundError if "no file named" in reason else ValueError
        raise kind(f"{folder} cannot be read as a {name} ({reason}). Copy or download the folder again.") from None


def refuse_code(folder: Path) -> None:
    """Refuse a model's folder that holds Python code, or whose settings name some for a loader to run.

    Raises:
        ValueError: If it does; the file is named.
    """
    for path in sorted(folder.iterdir() if folder.is_dir() else ()):
        named = path.suffix == ".json" and path.is_file() and b'"auto_map"' in path.read_bytes()
        if path.suffix == ".py" or named:
            what = "names code in auto_map" if named else "is code"
            raise ValueError(f"{path} {what}, and a prior's folder may hold weights and settings only. Remove it.")


def _read_json(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing. Copy the whole folder of the pipeline or model again.")
    return read_json(path, "Copy or download it again.")


def _size(sample_size: Any, dimensions: int) -> tuple[int, ...]:
    if sample_size is None:
        return ()
    return (sample_size,) * dimensions if isinstance(sample_size, int) else tuple(sample_size)


class _Autocast(nn.Module):
    """A network under torch's autocast to bfloat16."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: torch.Tensor, time: torch.Tensor) -> Any:
        with torch.autocast(z.device.type, torch.bfloat16):
            return self.network(z, time)
