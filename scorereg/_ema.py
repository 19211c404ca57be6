"""The exponential moving average of what an optimiser moves: of a network in training, and of a field in a fit."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import PARAM_LIST, AveragedModel

__all__ = ["make_average"]


def make_average(network: nn.Module, decay: float) -> AveragedModel:
    """Return the exponential moving average of a network's weights; after n updates its decay is min(decay, ...).

    The rise, (1 + n) / (10 + n), forgets the untrained weights sooner; it is that of TensorFlow's moving averages.
    """

    @torch.no_grad()
    def move(averages: PARAM_LIST, values: PARAM_LIST, updates: Tensor | int) -> None:
        n = float(updates)
        torch._foreach_lerp_(list(averages), list(values), 1 - min(decay, (1 + n) / (10 + n)))

    average = AveragedModel(network, multi_avg_fn=move)
    average.n_averaged.fill_(1)  # it holds the untrained weights already
    return average.requires_grad_(False)
