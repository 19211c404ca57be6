"""The data of a run: the protocol that training and evaluation read patches through.

A batch is addressed by number. Each step of a run has one slot for each process and accumulated part, and the patches
of a slot are a pure function of (seed, step, slot). There is no iterator state, so a resumed run, or one whose batches
are made by several workers, draws the same patches.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Source", "SourceInfo", "seeded"]


@dataclass(frozen=True)
class SourceInfo:
    """Description of a source, for the card of a prior that is trained on it.

    Args:
        channels: Channel names, in order.
        size: Spatial shape of a patch; one, two or three numbers.
        data: The data in words.
        depth: Kind of depth, where there is a disparity.
        d_min: Depth at which disparity is 1, in metres.
        focal: Shortest and longest focal length, in pixels.
        held_out: Names of what was kept out of training.
        licence: Licence that the data require for the weights, if any.
        credits: Names to be credited.
        transform: How raw values became prior space, where the data say so.
        range: Smallest and largest value in prior space.
    """

    channels: tuple[str, ...]
    size: tuple[int, ...]
    data: str
    depth: str | None = None
    d_min: float | None = None
    focal: tuple[float, float] | None = None
    held_out: tuple[str, ...] = ()
    licence: str = ""
    credits: tuple[str, ...] = ()
    transform: dict[str, Any] = field(default_factory=dict)
    range: tuple[float, float] = (-1.0, 1.0)


@runtime_checkable
class Source(Protocol):
    """Patches to train on and to measure on."""

    @property
    def about(self) -> SourceInfo:
        """Description of the data."""
        ...

    @property
    def measured(self) -> tuple[str, ...]:
        """Names of the sets to measure on; `"held-out"` is the first."""
        ...

    def batch(
        self, count: int, *, seed: int, step: int, slot: int
    ) -> tuple[Float[Tensor, "b c *space"], Float[Tensor, "b c *space"]]:
        """Return `count` augmented patches in prior space, and weights, 0 where a value is unknown.

        A pure function of its arguments. It may be called in another process than the one that made the source.
        """
        ...

    def plain(
        self, name: str, count: int, *, seed: int
    ) -> tuple[Float[Tensor, "b c *space"], Float[Tensor, "b c *space"]]:
        """Return patches without augmentation, of `"train"` or a set of `measured`, and weights as `batch` does."""
        ...


def seeded(*numbers: int) -> torch.Generator:
    """Return a generator whose stream depends on all the numbers, each >= 0, and on their order."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]) >> 1)
