"""What a run's network starts from: the best linear denoiser of its data, by the spectrum on the card."""

import dataclasses
import math
from typing import Any

from scorereg._progress import stage
from scorereg.data.source import Source
from scorereg.priors.card import PriorCard
from scorereg.priors.networks.edm import NetworkPrior
from scorereg.priors.networks.spectrum import SPECTRUM, measure_spectrum
from scorereg.training.settings import Settings

__all__ = ["keep_spectrum", "with_spectrum"]

_PATCHES = 2048
_VALUES = 2**23  # most values of the patches in memory
_SLOT = 2**20  # beyond the parts of a step: patches that no step trains on


def with_spectrum(card: PriorCard, settings: Settings, source: Source, start: Any = None) -> PriorCard:
    """Return the card of a new run with the spectrum that its network starts from.

    It is measured on patches of the training data; a run that starts from another prior's weights has that prior's.

    Args:
        card: Card without a spectrum.
        settings: Settings of the run.
        source: The data.
        start: The prior that `settings.init` names, if it names one.
    """
    if settings.recipe != "edm":
        return card
    if start is not None:
        fits = isinstance(start, NetworkPrior) and start.channels == card.channels  # else the weights are refused
        return keep_spectrum(card, start.card) if fits else card
    if not settings.linear:
        return card
    count = max(min(_PATCHES, _VALUES // (len(card.channels) * math.prod(card.size))), 16)
    with stage(f"cutting {count} patches for the linear start", announce=True):
        patches = source.batch(count, seed=settings.seed, step=0, slot=_SLOT)
    with stage("measuring the spectrum of the linear start"):
        spectrum = measure_spectrum(*patches)
    return dataclasses.replace(card, network={**card.network, SPECTRUM: spectrum.to_json()})


def keep_spectrum(card: PriorCard, before: PriorCard) -> PriorCard:
    """Return a card with the spectrum of another, or without one where that has none."""
    network = {name: value for name, value in card.network.items() if name != SPECTRUM}
    if SPECTRUM in before.network:
        network[SPECTRUM] = before.network[SPECTRUM]
    return dataclasses.replace(card, network=network)
