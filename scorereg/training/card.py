"""The card of a prior in training, and the network, scheduler and prior that a card stands for."""

import dataclasses
from typing import Any

from torch import nn

from scorereg.data.channels import channel_names
from scorereg.data.source import SourceInfo
from scorereg.priors.adapters.conversions import cosine_betas, noise_of
from scorereg.priors.adapters.wrapped import WrappedPrior, wrap
from scorereg.priors.card import PriorCard
from scorereg.priors.networks.build import build_network, network_settings
from scorereg.priors.networks.edm import NetworkPrior
from scorereg.priors.networks.storage import SIGMA_DATA, edm_scheduler
from scorereg.training.settings import Settings

__all__ = ["as_prior", "make_card", "network_for", "scheduler_of"]

_TABLE = 1000


_OF_FRAMES = ("patch", "channels", "known", "focal", "d_min", "depth_range", "depth_factor", "grain", "sharpen")


def network_for(card: PriorCard) -> nn.Module:
    """Return an untrained network of the kind that a card of `make_card` describes."""
    about = card.network
    return build_network(
        about["size"], patch=card.size, channels=len(card.channels), patchify=about["patchify"],
        conditional=about.get("conditional", False),
    )  # fmt: skip


def make_card(name: str, settings: Settings, about: SourceInfo) -> PriorCard:
    """Return the card of a prior that is to be trained.

    Raises:
        ValueError: If the recipe does not go with the data.
    """
    table, flat = settings.recipe == "diffusionerf", len(about.size) == 2
    if table and not flat:
        raise ValueError(f"the recipe diffusionerf is for images, but the data are of size {about.size}. Use edm.")
    _check_known(settings, about)
    kind = "diffusers UNet2DModel" if flat else "scorereg UNetND"
    noise = noise_of(betas=cosine_betas(_TABLE)) if table else None
    network: dict[str, Any] = {
        "kind": f"{kind}, {'epsilon under cosine betas' if table else 'EDM preconditioning'}",
        "size": settings.size,
        "patchify": 1 if table else network_settings(settings.size, len(about.size))["patchify"],
    }
    if settings.known:
        network["conditional"] = True
    return PriorCard(
        name=name,
        channels=about.channels,
        size=about.size,
        range=about.range,
        sigma_min=noise.low if noise else settings.sigma[0],
        sigma_max=noise.high if noise else settings.sigma[1],
        depth=about.depth,
        d_min=about.d_min,
        focal=about.focal,
        network=network if table else {**network, "sigma_data": SIGMA_DATA},
        data=about.data,
        licence=about.licence,
        credits=about.credits,
        training=recorded_settings(settings, about),
        held_out=about.held_out,
    )


def recorded_settings(settings: Settings, about: SourceInfo) -> dict[str, Any]:
    """The settings that had a say: those of how frames are cut have none where lines or volumes were trained on."""
    entries = settings.to_json() | ({"transform": about.transform} if about.transform else {})
    return {k: v for k, v in entries.items() if len(about.size) == 2 or k not in _OF_FRAMES}


def _check_known(settings: Settings, about: SourceInfo) -> None:
    if not settings.known:
        return
    missing = [name for name in channel_names(settings.known) if name not in about.channels]
    if missing:
        raise ValueError(f"--known names {', '.join(missing)}, but a patch holds {', '.join(about.channels)}.")
    if settings.recipe != "edm" or len(about.size) != 2:
        raise ValueError("--known is for images and the recipe edm. Leave it out.")


def as_prior(network: nn.Module, card: PriorCard, *, steps: int) -> NetworkPrior | WrappedPrior:
    """Return a trained network as a prior, with its card at this step, in evaluation mode."""
    card = dataclasses.replace(card, steps=steps)
    network = network.eval().requires_grad_(False)
    if "epsilon" in card.network["kind"]:
        return wrap(network, prediction="epsilon", betas=cosine_betas(_TABLE), channels=card.channels, card=card)
    return NetworkPrior(network, card).eval()


def scheduler_of(card: PriorCard) -> dict[str, Any]:
    """Return the noise that a card's network was trained with, as diffusers writes it."""
    if "epsilon" not in card.network["kind"]:
        return edm_scheduler(card)
    return {
        "_class_name": "DDPMScheduler",
        "num_train_timesteps": _TABLE,
        "beta_schedule": "squaredcos_cap_v2",
        "prediction_type": "epsilon",
        "clip_sample": False,
    }
