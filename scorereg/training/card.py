"""The card of a prior in training, and the network, loss and prior that it describes."""

import dataclasses
from typing import Any

import torch
from torch import nn

from scorereg.data.source import SourceInfo
from scorereg.priors.adapters.wrapped import WrappedPrior
from scorereg.priors.card import PriorCard
from scorereg.priors.networks.build import build_network
from scorereg.priors.networks.edm import NetworkPrior
from scorereg.priors.networks.spectrum import inputs_of
from scorereg.training.losses import EdmLoss, EpsLoss
from scorereg.training.parametrization import PARAMETRIZATIONS
from scorereg.training.settings import FRAME_SETTINGS, Settings

__all__ = ["AUTOCAST_DTYPES", "as_prior", "make_card", "make_loss", "network_for", "recorded_settings"]

AUTOCAST_DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def make_card(name: str, settings: Settings, about: SourceInfo) -> PriorCard:
    """Return the card of a prior that is to be trained.

    Args:
        name: Its name.
        settings: Settings of the run.
        about: Description of the data.

    Raises:
        ValueError: If the recipe or the known channels do not go with the data.
    """
    parametrization, flat = PARAMETRIZATIONS[settings.prediction], len(about.size) == 2
    facts = parametrization.card(settings, about.size)
    if settings.known:
        if missing := [name for name in settings.known_channels if name not in about.channels]:
            raise ValueError(f"--known names {', '.join(missing)}, but a patch holds {', '.join(about.channels)}.")
        if not (parametrization.conditional and flat):
            raise ValueError("--known is for images and the recipe edm. Leave it out.")
        facts["network"]["conditional"] = True
    return PriorCard(
        name=name,
        channels=about.channels,
        size=about.size,
        range=about.range,
        depth=about.depth,
        d_min=about.d_min,
        focal=about.focal,
        architecture="diffusers UNet2DModel" if flat else "scorereg UNetND",
        prediction=settings.prediction,
        data=about.data,
        licence=about.licence,
        credits=about.credits,
        training=recorded_settings(settings, about),
        held_out=about.held_out,
        **facts,
    )


def recorded_settings(settings: Settings, about: SourceInfo) -> dict[str, Any]:
    """Return the settings for a card; for rays and volumes without those of patches of frames."""
    entries = settings.to_json() | ({"transform": about.transform} if about.transform else {})
    return {k: v for k, v in entries.items() if len(about.size) == 2 or k not in FRAME_SETTINGS}


def network_for(card: PriorCard) -> nn.Module:
    """Return an untrained network as a card of `make_card` describes it."""
    about = card.network
    return build_network(
        about["size"], patch_size=card.size, channels=len(card.channels), patchify=about["patchify"],
        inputs=inputs_of(card),
    )  # fmt: skip


def make_loss(settings: Settings, card: PriorCard, precision: str) -> EdmLoss | EpsLoss:
    """Return the loss of a run with an untrained network, whose weights depend on the seed alone.

    Args:
        settings: Settings of the run.
        card: Its card.
        precision: A key of `AUTOCAST_DTYPES`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = network_for(card)
    if settings.checkpointing:
        network.enable_gradient_checkpointing()  # pyright: ignore[reportCallIssue]  # of diffusers' networks and ours
    return PARAMETRIZATIONS[card.prediction].loss(network, card, AUTOCAST_DTYPES[precision])


def as_prior(network: nn.Module, card: PriorCard, *, steps: int) -> NetworkPrior | WrappedPrior:
    """Return a trained network as a prior in evaluation mode, with the number of steps on its card."""
    card = dataclasses.replace(card, steps=steps)
    return PARAMETRIZATIONS[card.prediction].as_prior(network.eval().requires_grad_(False), card)
