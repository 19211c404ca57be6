"""A batch in pieces, so that what the network keeps of it for the way back is never there all at once."""

import torch
from torch import Tensor

from scorereg.training.batches import Batch
from scorereg.training.losses import counted
from scorereg.training.settings import Settings

__all__ = ["PIECE", "at_once", "pieces"]

PIECE = 8  # patches: of the paper's network their activations are a small part of what is held anyway


def at_once(settings: Settings) -> int:
    """The most patches of a part that go through the network at a time."""
    return PIECE if settings.checkpointing else settings.batch


def pieces(part: Batch, size: int) -> list[tuple[Batch, Tensor | float]]:
    """Cut a batch into pieces, each with its share of the loss.

    A loss is a mean over the values that count, sum(error weight) / sum(weight). So with the piece's share of those
    weights, sum(share loss(piece)) is the loss of the whole, and its gradient the whole's, up to rounding.

    Args:
        part: Patches, weights, noise, levels and, for a conditional prior, what is known.
        size: Most patches of a piece.
    """
    if len(part[0]) <= size:
        return [(part, 1.0)]
    cut = list(zip(*(value.split(size) for value in part), strict=True))
    sums = torch.stack([counted(weight, *known).sum() for _, weight, _, _, *known in cut])
    return list(zip(cut, sums.clamp_min(1) / sums.sum().clamp_min(1), strict=True))
