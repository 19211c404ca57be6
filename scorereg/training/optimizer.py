"""Optimiser, learning rate and the average of the weights."""

import math

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import PARAM_LIST, AveragedModel

from scorereg.training.settings import Settings

__all__ = ["learning_rate", "make_average", "make_optimizer"]


def make_optimizer(network: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """Return AdamW, fused where torch has it for the device; weight decay 0 makes it Adam."""
    device = next(network.parameters()).device.type
    return torch.optim.AdamW(
        network.parameters(),
        lr=settings.lr,
        betas=(0.9, 0.99),
        weight_decay=settings.weight_decay,
        fused=device in ("cpu", "cuda"),
    )


def learning_rate(step: int, settings: Settings) -> float:
    """Learning rate of a step: a linear rise over the first 500 steps (or a tenth), then a cosine to 0; or constant."""
    if settings.schedule == "constant":
        return settings.lr
    warm = min(500, settings.steps // 10 + 1)
    fall = (1 + math.cos(math.pi * min(step / settings.steps, 1))) / 2
    return settings.lr * min((step + 1) / warm, 1) * fall


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
