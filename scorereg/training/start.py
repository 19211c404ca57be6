"""Begin a run with the weights of a prior that is there already, in place of random ones."""

from typing import cast

import torch
from torch import Tensor, nn

from scorereg.priors.load import load_prior
from scorereg.training.checkpoint import State

__all__ = ["start_from"]


def start_from(state: State, init: str) -> State:
    """Copy a prior's weights into a run before its first step, and into its average.

    Args:
        state: A new run.
        init: What `load_prior` reads: a shipped prior's name, a folder, or `owner/name`.

    Returns:
        The same run.

    Raises:
        ValueError: If the prior's channels or network are not those of the run.
        OSError: If it cannot be read.
    """
    prior = load_prior(init)
    if tuple(prior.channels) != tuple(state.card.channels):
        raise ValueError(
            f"--init {init} has the channels {', '.join(prior.channels)}, but the run "
            f"{', '.join(state.card.channels)}. Choose another --channels or --init."
        )
    weights = cast(nn.Module, prior.network).state_dict()
    if _shapes(weights) != _shapes(state.loss.network.state_dict()):
        raise ValueError(
            f"--init {init} is a network of another kind ({prior.card.network.get('kind', 'unknown')}, "
            f"{prior.card.network.get('size', 'of unknown size')}) than the run's "
            f"({state.card.network['kind']}, {state.card.network['size']}). Choose its --size and --recipe."
        )
    state.loss.network.load_state_dict(weights)
    state.average.module.load_state_dict(weights)
    return state


def _shapes(weights: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in weights.items()}
