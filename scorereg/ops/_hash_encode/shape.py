"""Sizes of a multiresolution grid, level by level."""

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Literal

import numpy as np

__all__ = ["PRIMES", "GridShape", "Interpolation"]

Interpolation = Literal["linear", "smoothstep"]
PRIMES = (1, 2654435761, 805459861, 3674653429)  # of the hash, by dimension (Mueller 2022, eq. 4)
_MOST_SLOTS = 30  # log2; rows within a level are computed in 32 bits


@dataclass(frozen=True)
class GridShape:
    """Sizes of a multiresolution grid.

    Args:
        levels: Number of resolutions, >= 1.
        features: Features of a vertex, >= 1.
        log2_slots: Logarithm of the largest number of rows of a level, 1 to 30.
        base: Cells along an axis of the coarsest level (vertices, if staggered), >= 1.
        finest: The same of the finest level, >= base; between, they grow by a constant factor.
        dimensions: Dimensions of space: 2, 3 or 4.
        interpolation: `"linear"`, or `"smoothstep"`: 3 s^2 - 2 s^3 in place of each share s, whose slope is continuous
            from cell to cell.
        staggered: Whether grids are laid out as tiny-cuda-nn's: half a cell off the cube's corner, so that vertices of
            different levels do not coincide. Else the first and last vertices lie in the cube's corners.

    Raises:
        ValueError: If a size is out of its range, or `finest` is below `base`.
    """

    levels: int = 8
    features: int = 2
    log2_slots: int = 18
    base: int = 16
    finest: int = 1024
    dimensions: int = 3
    interpolation: Interpolation = "linear"
    staggered: bool = False

    def __post_init__(self) -> None:
        if min(self.levels, self.features, self.log2_slots, self.base) < 1 or self.finest < self.base:
            raise ValueError(f"A grid needs sizes of at least 1 and finest >= base, got {self}.")
        if self.dimensions not in (2, 3, 4) or self.log2_slots > _MOST_SLOTS:
            raise ValueError(f"A grid has 2, 3 or 4 dimensions and log2_slots <= {_MOST_SLOTS}, got {self}.")

    @property
    def growth(self) -> float:
        """Factor from one level's resolution to the next one's."""
        return math.exp(math.log(self.finest / self.base) / max(self.levels - 1, 1))

    @cached_property
    def scales(self) -> tuple[float, ...]:
        """Cells along the unit, by level; not whole numbers if the grid is staggered."""
        if not self.staggered:
            growth = math.log(self.growth)
            return tuple(float(int(self.base * math.exp(level * growth) + 1e-9)) for level in range(self.levels))
        # in float32, step by step as tiny-cuda-nn: how its result is rounded decides how many vertices there are
        step = np.log2(np.float32(self.growth))
        return tuple(
            float(np.exp2(np.float32(level) * step) * np.float32(self.base) - np.float32(1))
            for level in range(self.levels)
        )

    @cached_property
    def sides(self) -> tuple[int, ...]:
        """Vertices along an axis, by level."""
        return tuple(math.ceil(scale) + 1 for scale in self.scales)

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Cells along an axis, by level."""
        return tuple(side - 1 for side in self.sides)

    @cached_property
    def rows(self) -> tuple[int, ...]:
        """Rows of each level in the table; if staggered, rounded up to a multiple of eight."""
        unit = 8 if self.staggered else 1
        return tuple(min(math.ceil(side**self.dimensions / unit) * unit, 2**self.log2_slots) for side in self.sides)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """First row of each level."""
        return (0, *accumulate(self.rows[:-1]))

    @cached_property
    def dense(self) -> int:
        """Number of dense levels, which are the coarsest ones."""
        return sum(side**self.dimensions <= 2**self.log2_slots for side in self.sides)
