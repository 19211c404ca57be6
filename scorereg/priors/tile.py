r"""A prior of small patches on larger images, lines or volumes: overlapping tiles, denoised and averaged.

    D(x) = sum_k W_k * D_1(tile k of x),     sum_k W_k = 1 at every pixel

The windows W_k are products of one-dimensional ones, smooth where tiles overlap and divided by their sum, so that they
sum to one up to the border.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from scorereg.priors.base import Prior, check_known, check_patch, conditioning_args, one_line
from scorereg.priors.compose import derived_card

__all__ = ["TiledPrior"]

_WINDOWS: dict[str, Callable[[Tensor], Tensor]] = {
    "hann": lambda u: torch.sin(math.pi * u).square(),
    "triangle": lambda u: 1 - (2 * u - 1).abs(),
    "flat": torch.ones_like,
}


class TiledPrior(nn.Module):
    """A prior that denoises larger samples tile by tile.

    Exact where the prior looks at each pixel by itself, as its tiles then agree. Tiles lie at whole pixels, evenly from
    border to border, and overlap by at least `overlap`. Works in as many spatial dimensions as the prior does.

    Args:
        prior: The prior of patches.
        size: Tile, in pixels, for each spatial dimension or one number for all; the card's, if not given.
        overlap: Pixels that neighbours share at least, for each dimension or all; half a tile, if not given.
        window: How much a tile counts along each dimension: `"hann"`, `"triangle"` or `"flat"`.
        chunk: Tiles at a time.

    Raises:
        ValueError: If there is no size, the overlap leaves no step between tiles, or the window is unknown.
    """

    def __init__(
        self,
        prior: Prior,
        size: int | Sequence[int] | None = None,
        *,
        overlap: int | Sequence[int] | None = None,
        window: Literal["hann", "triangle", "flat"] = "hann",
        chunk: int = 64,
    ) -> None:
        super().__init__()
        card = getattr(prior, "card", None)
        if size is None and not getattr(card, "size", ()):
            raise ValueError(f"a {type(prior).__name__} has no card with the size of its patches. Give size=...")
        if window not in _WINDOWS or chunk < 1:
            raise ValueError(
                f"a window is one of {', '.join(_WINDOWS)} and a chunk at least 1, but got {window!r} and {chunk}."
            )
        self.prior = prior
        self.channels = tuple(prior.channels)
        self.conditional = getattr(prior, "conditional", False)
        self.card = card and derived_card(card)
        self.size = getattr(card, "size", ()) if size is None else size
        self.overlap = overlap
        self.window, self.chunk = window, chunk
        for side, shared in self._tiles(1 if isinstance(self.size, int) else len(self.size)):
            if not (side >= 1 and 0 <= shared < side):
                raise ValueError(
                    f"tiles of {side} pixels cannot overlap by {shared}: give 0 <= overlap < size, in pixels."
                )

    def denoise(
        self, x: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"], known: Bool[Tensor, "..."] | None = None
    ) -> Float[Tensor, "b c *space"]:
        """Return the average of the denoised tiles; a conditional prior is told what is known in each.

        Raises:
            ValueError: If the sample is smaller than a tile, or has other dimensions or channels, or the prior is not
                conditional and there is a mask.
        """
        check_patch(self, x, sigma)
        check_known(self, known)
        space = tuple(x.shape[2:])
        tiles = self._tiles(len(space))
        if any(length < side for length, (side, _) in zip(space, tiles, strict=True)):
            raise ValueError(
                f"tiles of {tuple(side for side, _ in tiles)} pixels do not fit into a sample of {space}. "
                "Give a larger sample or, if the prior allows it, a smaller size."
            )
        starts = [_starts(length, *tile) for length, tile in zip(space, tiles, strict=True)]
        sides = [side for side, _ in tiles]
        tiled = _cut(x, starts, sides)
        level = sigma.repeat_interleave(len(tiled) // max(len(x), 1))
        parts, levels = tiled.split(self.chunk), level.split(self.chunk)
        masks = [None] * len(parts) if known is None else _cut(known.expand_as(x), starts, sides).split(self.chunk)
        asked = zip(parts, levels, masks, strict=True)
        done = torch.cat([self.prior.denoise(part, s, *conditioning_args(self.prior, mask)) for part, s, mask in asked])
        return _join(done, starts, space, _WINDOWS[self.window])

    def __repr__(self) -> str:
        size, overlap = (v if isinstance(v, int | None) else "x".join(map(str, v)) for v in (self.size, self.overlap))
        return f"TiledPrior({one_line(self.prior)}, size={size}, overlap={overlap}, window={self.window})"

    def _tiles(self, dimensions: int) -> list[tuple[int, int]]:
        """Side and overlap along each spatial dimension."""
        sides = [self.size] * dimensions if isinstance(self.size, int) else list(self.size)
        half = [side // 2 for side in sides] if self.overlap is None else self.overlap
        shared = [half] * dimensions if isinstance(half, int) else list(half)
        if not len(sides) == len(shared) == dimensions:
            raise ValueError(
                f"a sample of {dimensions} spatial dimensions needs a tile size and an overlap for each, "
                f"but they are {self.size} and {self.overlap}."
            )
        return list(zip(sides, shared, strict=True))


def _starts(length: int, side: int, shared: int) -> Int[Tensor, " n"]:
    """First pixels of as few tiles as cover a length with that overlap, spread evenly."""
    count = -(-(length - side) // (side - shared)) + 1
    return torch.linspace(0, length - side, count, dtype=torch.float64).round().long()


def _cut(x: Tensor, starts: list[Tensor], sides: list[int]) -> Shaped[Tensor, "tiles c *space"]:
    """All tiles as one batch: sample by sample, the last dimension's tiles next to each other."""
    dimensions = len(starts)
    for axis, (start, side) in enumerate(zip(starts, sides, strict=True)):
        index = (start[:, None] + torch.arange(side)).flatten().to(x.device)
        x = x.index_select(2 + 2 * axis, index).unflatten(2 + 2 * axis, (len(start), side))
    where = [2 + 2 * axis for axis in range(dimensions)]
    order = [0, *where, 1, *(axis + 1 for axis in where)]
    return x.permute(order).flatten(0, dimensions)


def _join(
    tiles: Tensor, starts: list[Tensor], space: tuple[int, ...], window: Callable[[Tensor], Tensor]
) -> Float[Tensor, "b c *space"]:
    """The inverse of `_cut`, weighted: one dimension after the other, the last first."""
    tiles = tiles.unflatten(0, (-1, *map(len, starts)))  # b n1 .. nd c s1 .. sd
    for axis in range(len(starts), 0, -1):  # joins n_axis with s_axis; nothing behind n_axis is left but c and space
        start, side = starts[axis - 1].tolist(), tiles.shape[axis + 1 + axis]
        weights = _weights(start, side, space[axis - 1], window).to(tiles)
        parts = (tiles.select(axis, k) for k in range(len(start)))
        dim = 2 * axis  # of s_axis, once n_axis is gone
        shape = [*tiles.shape[:axis], *tiles.shape[axis + 1 :]]
        shape[dim] = space[axis - 1]
        joined = tiles.new_zeros(shape)
        for first, part, weight in zip(start, parts, weights, strict=True):  # in order: the same sum on every run
            place = joined.narrow(dim, first, side)
            place += part * weight.reshape(-1, *[1] * (part.ndim - 1 - dim))
        tiles = joined
    return tiles


def _weights(
    start: list[int], side: int, length: int, window: Callable[[Tensor], Tensor]
) -> Float[Tensor, "tiles side"]:
    """Each tile's window along one dimension; at each pixel they sum to 1."""
    bell = window((torch.arange(side, dtype=torch.float64) + 0.5) / side)
    total = torch.zeros(length, dtype=torch.float64)
    for first in start:
        total[first : first + side] += bell
    return torch.stack([bell / total[first : first + side] for first in start])
