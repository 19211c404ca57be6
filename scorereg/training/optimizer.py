"""Optimizer and learning rate."""

import math

import torch
from torch import nn

from scorereg.training.settings import Settings

__all__ = ["learning_rate", "make_optimizer"]


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
    """Return the learning rate of a step: constant, or a linear warm-up over min(500, a tenth), then a cosine to 0."""
    if settings.schedule == "constant":
        return settings.lr
    warm = min(500, settings.steps // 10 + 1)
    fall = (1 + math.cos(math.pi * min(step / settings.steps, 1))) / 2
    return settings.lr * min((step + 1) / warm, 1) * fall
