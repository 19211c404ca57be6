r"""What a network predicts, and all that follows from it: loss, noise levels, scheduler, and the prior that it is.

edm       F of Karras et al. 2022,                 ln sigma ~ N(mean, std^2), clipped
epsilon   the noise, under 1000 cosine betas,      t uniform on 0 .. 999
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from scorereg.priors.adapters.conversions import cosine_betas, noise_of
from scorereg.priors.adapters.wrapped import WrappedPrior, wrap
from scorereg.priors.card import PriorCard
from scorereg.priors.networks.build import network_settings
from scorereg.priors.networks.edm import NetworkPrior
from scorereg.priors.networks.storage import SIGMA_DATA, edm_scheduler
from scorereg.training.losses import TABLE, EdmLoss, EpsLoss
from scorereg.training.settings import Settings

__all__ = ["PARAMETRIZATIONS", "Parametrization"]


@dataclass(frozen=True)
class Parametrization:
    """A prediction and what depends on it.

    Args:
        loss: Makes the loss of a network, for a card and a half precision or None.
        draw_levels: Draws the noise levels of a number of patches: sigma, or an index as a float.
        card: Returns `sigma_min`, `sigma_max` and `network` of the card, for a spatial shape of patches.
        scheduler: Returns the content of diffusers' `scheduler_config.json`.
        as_prior: Makes a prior of a trained network in evaluation mode.
        conditional: Whether channels can be given without noise.
    """

    loss: Callable[[nn.Module, PriorCard, torch.dtype | None], EdmLoss | EpsLoss]
    draw_levels: Callable[[Settings, int, torch.Generator], Tensor]
    card: Callable[[Settings, tuple[int, ...]], dict[str, Any]]
    scheduler: Callable[[PriorCard], dict[str, Any]]
    as_prior: Callable[[nn.Module, PriorCard], NetworkPrior | WrappedPrior]
    conditional: bool = False


def _edm_levels(settings: Settings, count: int, generator: torch.Generator) -> Tensor:
    level = settings.sigma_mean + settings.sigma_std * torch.randn(count, generator=generator)
    return level.exp().clamp(*settings.sigma)


def _edm_card(settings: Settings, size: tuple[int, ...]) -> dict[str, Any]:
    fold = network_settings(settings.network_size, len(size))["patchify"]
    network = {"size": settings.network_size, "patchify": fold, "sigma_data": SIGMA_DATA}
    return {"sigma_min": settings.sigma[0], "sigma_max": settings.sigma[1], "network": network}


def _epsilon_levels(settings: Settings, count: int, generator: torch.Generator) -> Tensor:
    return torch.randint(TABLE, (count,), generator=generator).to(torch.float32)


def _epsilon_card(settings: Settings, size: tuple[int, ...]) -> dict[str, Any]:
    if len(size) != 2:
        raise ValueError(f"the recipe {settings.recipe} is for images, but the data are of size {size}. Use edm.")
    noise = noise_of(betas=cosine_betas(TABLE))
    network = {"size": settings.network_size, "patchify": 1}
    return {"sigma_min": noise.low, "sigma_max": noise.high, "network": network}


def _epsilon_scheduler(card: PriorCard) -> dict[str, Any]:
    return {
        "_class_name": "DDPMScheduler",
        "num_train_timesteps": TABLE,
        "beta_schedule": "squaredcos_cap_v2",
        "prediction_type": "epsilon",
        "clip_sample": False,
    }


def _epsilon_prior(network: nn.Module, card: PriorCard) -> WrappedPrior:
    return wrap(network, prediction="epsilon", betas=cosine_betas(TABLE), channels=card.channels, card=card)


PARAMETRIZATIONS: dict[str, Parametrization] = {
    "edm": Parametrization(
        EdmLoss, _edm_levels, _edm_card, edm_scheduler, lambda network, card: NetworkPrior(network, card).eval(), True
    ),
    "epsilon": Parametrization(EpsLoss, _epsilon_levels, _epsilon_card, _epsilon_scheduler, _epsilon_prior),
}
