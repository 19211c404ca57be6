"""A batch in pieces, so that what the network keeps of it for the way back is never there all at once."""

import torch
from torch import Tensor

from scorereg.training.loader import Batch

__all__ = ["PIECE", "pieces"]

PIECE = 8  # patches: of the paper's network their activations are a small part of what is held anyway


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
    counted = torch.stack([_counted(piece) for piece in cut])
    return list(zip(cut, counted.clamp_min(1) / counted.sum().clamp_min(1), strict=True))


def _counted(piece: Batch) -> Tensor:
    """The sum of the weights that the loss divides by: what is known does not count."""
    weight = piece[1]
    return (weight if len(piece) == 4 else weight * ~piece[4]).sum()
