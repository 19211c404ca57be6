"""Exponential moving average of a module's parameters, for networks in training and fields in a fit."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import PARAM_LIST, AveragedModel

__all__ = ["make_average"]


def make_average(network: nn.Module, decay: float) -> AveragedModel:
    """Return the exponential moving average of a module's parameters.

    After n updates the decay is min(decay, (1 + n) / (10 + n)), so that the initial values are forgotten sooner; that
    is the rule of TensorFlow's moving averages.

    Args:
        network: The module; its present values are the first average.
        decay: Largest decay, in [0, 1).
    """

    @torch.no_grad()
    def update(averages: PARAM_LIST, values: PARAM_LIST, updates: Tensor | int) -> None:
        n = float(updates)
        torch._foreach_lerp_(list(averages), list(values), 1 - min(decay, (1 + n) / (10 + n)))

    average = AveragedModel(network, multi_avg_fn=update)
    average.n_averaged.fill_(1)  # the initial values count as the first update
    return average.requires_grad_(False)
