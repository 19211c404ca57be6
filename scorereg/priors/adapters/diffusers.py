"""Unconditional networks of the diffusers library, with their scheduler, as priors."""

import dataclasses
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scorereg._device import check_device
from scorereg.priors.adapters.diffusers_layout import DECODERS, MODEL_INDEX
from scorereg.priors.adapters.foreign_models import cure_of_model
from scorereg.priors.adapters.keywords import explained
from scorereg.priors.adapters.mistaken import mistaken
from scorereg.priors.adapters.schedulers import scheduler_settings
from scorereg.priors.adapters.unwrapped import check_loaded, inner_module
from scorereg.priors.adapters.wrapped import WrappedPrior, wrap
from scorereg.priors.arguments import check_values
from scorereg.priors.card import PriorCard

__all__ = ["MODELS", "NAMED", "channel_names", "check_network", "from_diffusers", "prior_of_network"]

MODELS = ("UNet2DModel", "UNet1DModel")
NAMED = "channels named by their number: channels= names them otherwise"


@explained
def from_diffusers(
    network: Any,
    scheduler: Any = None,
    *,
    name: str = "",
    channels: tuple[str, ...] | None = None,
    size: tuple[int, ...] | None = None,
    d_min: float | None = None,
    data_range: tuple[float | int, float | int] | None = None,
    card: PriorCard | None = None,
    device: str | torch.device = "cpu",
    autocast: bool = False,
) -> WrappedPrior:
    """Make a prior of a U-Net and its scheduler; the network is put into evaluation mode and moved.

    Args:
        network: A `UNet2DModel` or `UNet1DModel`, also inside `torch.compile` or DataParallel; the module inside is
            used.
        scheduler: The scheduler that it was trained with. Needed.
        name: Name in the card and in errors; by default the network's class.
        channels: Channel names; by default gray for 1 channel, and r, g, b for 3.
        size: Spatial shape of a training patch; by default the network's.
        d_min: Depth in metres at which disparity is 1, for the card, if a channel is disparity.
        data_range: Values of the data that are -1 and 1 in prior space; by default -1 and 1.
        card: The model's card, if it has one.
        device: Device of the network.
        autocast: Run the network in bfloat16 where torch's autocast does.

    Raises:
        ValueError: If network or scheduler are not supported, or the channels have no names.
    """
    check_values(channels, size, d_min)
    check_device(device)
    if card is not None and not isinstance(card, PriorCard):
        raise ValueError(f"card must be a PriorCard, but is a {type(card).__name__}: PriorCard.load(folder) reads one.")
    name = name or type(inner_module(network)).__name__
    if (text := mistaken(network)) is not None:
        raise ValueError(f"from_diffusers takes a network and its scheduler, but got {text}.")
    if channels is None and (folder := _of_latents(network)) is not None:
        raise ValueError(
            f"this {name} is of {folder}, a pipeline of latents, and its channels are no colours. Give the whole: "
            f"load_prior({str(folder)!r}); or name them: channels=('latent_0', ...)."
        )
    return prior_of_network(
        network, scheduler_settings(scheduler), name=name, channels=channels, size=size, d_min=d_min,
        data_range=data_range, card=card, device=device, autocast=autocast,
    )  # fmt: skip


def prior_of_network(
    network: Any,
    settings: Mapping[str, Any],
    *,
    name: str,
    channels: tuple[str, ...] | None,
    size: tuple[int, ...] | None,
    d_min: float | None,
    data_range: tuple[float | int, float | int] | None,
    card: PriorCard | None,
    device: str | torch.device,
    autocast: bool,
) -> WrappedPrior:
    """Make a prior of a U-Net, with `settings` in place of the scheduler: arguments of `wrap`.

    Raises:
        ValueError: As for `from_diffusers`.
    """
    network = check_network(network, name)
    if card is not None:
        given = {"channels": channels, "size": size, "d_min": d_min}
        for what, value in given.items():
            if value is not None and value != getattr(card, what):
                raise ValueError(f"{what}={value} contradict the card of {name}, which says {getattr(card, what)}.")
    names = card.channels if card else channel_names(network.config.in_channels, channels, name)
    check_loaded(network)
    network = network.to(device).eval().requires_grad_(False)
    settings = dict(settings) if data_range is None else {**settings, "data_range": data_range}
    if network.config.get("center_input_sample") and "data_range" not in settings:
        warnings.warn(
            f"{name} has center_input_sample=True, which shifts its input from [0, 1] to [-1, 1]: its data are taken "
            "in [-1, 1], but were probably in [0, 1]. Say it: data_range=(0.0, 1.0), or (-1.0, 1.0) if they were not.",
            stacklevel=3,
        )
    prior = wrap(
        _Autocast(network) if autocast else network, channels=names, size=tuple(size or _size(network)),
        multiple=_multiple(network), card=card, **settings,
    )  # fmt: skip
    if card is None:
        depth: dict[str, Any] = {"depth": "planar", "d_min": d_min} if d_min is not None else {}
        named = () if channels else (NAMED,)
        prior.card = dataclasses.replace(
            prior.card, name=name, architecture=f"diffusers {type(network).__name__}",
            assumed=(*prior.card.assumed, *named), **depth,
        )  # fmt: skip
    return prior


def check_network(network: Any, name: str) -> Any:
    """Return the network inside its wrappers, after a check that it is an unconditional one of diffusers.

    Raises:
        ValueError: If it is of another class, or takes more than a noised sample and a time.
    """
    network = inner_module(network)
    kind = type(network).__name__
    if (text := mistaken(network)) is not None:
        raise ValueError(f"{name} holds {text}.")
    if kind not in MODELS:
        raise ValueError(f"{name} holds a {kind}, but supported are {', '.join(MODELS)}. {cure_of_model(kind)}")
    config = network.config
    if config.get("class_embed_type") or config.get("num_class_embeds"):
        raise ValueError(
            f"{name} is conditioned on a class. Choose one: scorereg.wrap(lambda z, t: unet(z, t, class_labels="
            "torch.full((len(z),), 3)).sample, channels=..., **scorereg.priors.scheduler_settings(scheduler))."
        )
    inside = config.in_channels
    outside = config.get("out_channels", inside)
    if outside not in (inside, 2 * inside):  # twice: with a learned variance
        raise ValueError(f"{name} takes {inside} channels and returns {outside}{_unequal(inside, outside)}")
    return network


def _unequal(inside: int, outside: int) -> str:
    """Why a network does not return what it takes, and what to do."""
    if outside > inside:
        return (
            ", more than a denoiser has, whose output is like its input. Give the network that was trained to denoise."
        )
    call = "scorereg.wrap(lambda z, t: unet(torch.cat([z, image], 1), t).sample, channels=..., "
    return (
        f": it denoises {outside} of them, conditioned on an image of {inside - outside}, as for super-resolution or "
        f"inpainting, or is no denoiser. Bind the image: {call}**scorereg.priors.scheduler_settings(scheduler))."
    )


def _of_latents(network: Any) -> Path | None:
    """The folder that a network was read from, if it is a pipeline with a decoder."""
    where = getattr(getattr(inner_module(network), "config", None), "_name_or_path", None)
    for folder in (Path(where), Path(where).parent) if isinstance(where, str | os.PathLike) and where else ():
        index = folder / MODEL_INDEX
        if index.is_file() and any(f'"{name}"' in index.read_text(errors="replace") for name in DECODERS):
            return folder
    return None


def channel_names(count: int, given: tuple[str, ...] | None, name: str) -> tuple[str, ...]:
    """Return the channels' names: those given, or the usual ones of 1 (gray) and 3 (r, g, b) channels.

    Raises:
        ValueError: If the number of names is wrong, or no names are given for another number of channels.
    """
    names = given or {1: ("gray",), 3: ("r", "g", "b")}.get(count)
    if names is None:
        raise ValueError(
            f"{name} has {count} channels without names. Name them: load_prior(..., channels=('r', 'g', ...)), or "
            "--channels r,g,..."
        )
    if len(names) != count:
        raise ValueError(f"{name} has {count} channels, but channels={tuple(names)} names {len(names)}.")
    return tuple(names)


def _size(network: Any) -> tuple[int, ...]:
    sample_size = network.config.sample_size
    if sample_size is None:
        return ()
    one = type(network).__name__ == "UNet1DModel"
    return (sample_size,) * (1 if one else 2) if isinstance(sample_size, int) else tuple(sample_size)


def _multiple(network: Any) -> int:
    """What sides have to be multiples of: a factor of 2 for each time that the network halves them."""
    config, size = network.config, _size(network)
    if type(network).__name__ == "UNet2DModel":
        return 2 ** max(len(config.get("block_out_channels", ())) - 1, 0)
    multiple = 2 ** len(config.down_block_types)  # at most; its own size is one that it takes
    while size and multiple > 1 and size[0] % multiple:
        multiple //= 2
    return multiple


class _Autocast(nn.Module):
    """A network under torch's autocast to bfloat16."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: torch.Tensor, time: torch.Tensor) -> Any:
        with torch.autocast(z.device.type, torch.bfloat16):
            return self.network(z, time)
