"""Where a run's patches come from: what the trainer asks of its data, and no more.

Batches are asked for by number. Step k of a run is divided into slots, one for each process and accumulated part, and
the patches of a slot are a pure function of (seed, k, slot): no order of calls and no hidden position in a file, so
that a resumed run, or one whose batches are made by several workers, sees what an uninterrupted one sees.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    pass

__all__ = ["Source", "SourceInfo", "seeded"]


@dataclass(frozen=True)
class SourceInfo:
    """What the data say on the card of a prior that is trained on them.

    Args:
        channels: Channel names, in order.
        size: Spatial shape of a patch; one, two or three numbers.
        data: The data in words.
        depth: Kind of depth, where there is a disparity.
        d_min: Metres at which disparity is 1.
        focal: Shortest and longest focal length, in pixels.
        held_out: What was kept out of training.
        licence: Licence that the data ask of the weights, where they do.
        credits: Whom they ask to be named.
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
    """Patches to train on, and patches to measure on."""

    @property
    def about(self) -> SourceInfo:
        """What they are."""
        ...

    @property
    def measured(self) -> tuple[str, ...]:
        """Names of the sets to be measured on; `"held-out"` is the first."""
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
        """Return patches as they are, without augmentation, of `"train"` or a set of `measured`, and their weights."""
        ...


def seeded(*numbers: int) -> torch.Generator:
    """Return a generator whose stream depends on all the numbers, each >= 0, and on their order."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]) >> 1)
