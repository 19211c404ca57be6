r"""A prior of small patches on larger images, lines or volumes: overlapping tiles are denoised and averaged.

    D(x)(p) = sum_k w(p - s_k) D_1(tile k of x)(p - s_k) / sum_k w(p - s_k)

with the tiles' corners s_k and a window w, a product of one-dimensional ones that fall to 0 towards the tile's border.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from scorereg.ops import scatter_patches
from scorereg.ops._overlap import add_in_order, views_at
from scorereg.priors.base import Prior, check_known, check_patch, conditioning_args, one_line
from scorereg.priors.compose import derived_card
from scorereg.priors.composition import check_prior, check_whole

__all__ = ["TiledPrior"]

_WINDOWS: dict[str, Callable[[Tensor], Tensor]] = {
    "hann": lambda u: torch.sin(math.pi * u).square(),
    "triangle": lambda u: 1 - (2 * u - 1).abs(),
    "flat": torch.ones_like,
}


class TiledPrior(nn.Module):
    """A prior that denoises larger samples tile by tile and averages the overlaps. Differentiable once.

    Exact for a prior that treats each pixel by itself, since its tiles then agree. Tiles lie at whole pixels, evenly
    from border to border, and overlap by at least `overlap`. Works in 1, 2 or 3 spatial dimensions, as the prior does.

    Args:
        prior: The prior of patches.
        size: Side of a tile in pixels, one number or one for each spatial dimension; the card's if not given.
        overlap: Least overlap of adjacent tiles in pixels, one number or one for each; half a tile if not given.
        window: Weight of a tile along each dimension: `"hann"`, `"triangle"` or `"flat"`.
        chunk: Tiles that are denoised at a time, >= 1.

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
        check_prior(prior, "TiledPrior")
        check_whole(chunk, "`chunk` of TiledPrior", 1)
        for name, value, least in (("size", size, 1), ("overlap", overlap, 0)):
            for number in () if value is None else value if isinstance(value, list | tuple) else (value,):
                check_whole(number, f"`{name}` of TiledPrior, pixels along a side,", least)
        card = getattr(prior, "card", None)
        if size is None and not getattr(card, "size", ()):
            raise ValueError(f"a {type(prior).__name__} has no card with the size of its patches. Give size=...")
        if not isinstance(window, str) or window not in _WINDOWS:
            raise ValueError(f"a window is one of {', '.join(_WINDOWS)}, but got {window!r}.")
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
        """Return the average of the denoised tiles; a conditional prior also gets each tile's part of the mask.

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
        sides = [side for side, _ in tiles]
        starts = [_starts(length, *tile) for length, tile in zip(space, tiles, strict=True)]
        corners = torch.cartesian_prod(*starts).reshape(-1, len(space))
        tiled = _Cut.apply(x, corners, sides).flatten(0, 1)
        level = sigma.repeat_interleave(len(corners))
        parts, levels = tiled.split(self.chunk), level.split(self.chunk)
        masks = [None] * len(parts)
        if known is not None:
            masks = _Cut.apply(known.expand_as(x), corners, sides).flatten(0, 1).split(self.chunk)
        batches = zip(parts, levels, masks, strict=True)
        done = torch.cat(
            [self.prior.denoise(part, s, *conditioning_args(self.prior, mask)) for part, s, mask in batches]
        )
        done = done.unflatten(0, (len(x), len(corners))).transpose(0, 1).flatten(1, 2)  # samples as channels
        window = _window(sides, _WINDOWS[self.window]).to(x.device, torch.promote_types(x.dtype, torch.float32))
        whole, _ = scatter_patches(done, corners, space, window=window)
        return whole.unflatten(0, x.shape[:2])

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
    """First pixels of the fewest tiles that cover a length with at least that overlap, spread evenly."""
    count = -(-(length - side) // (side - shared)) + 1
    return torch.linspace(0, length - side, count, dtype=torch.float64).round().long()


def _window(sides: Sequence[int], shape: Callable[[Tensor], Tensor]) -> Float[Tensor, "*side"]:
    """Product of one window along each dimension, in float64."""
    window = torch.ones((), dtype=torch.float64)
    for side in sides:
        window = window[..., None] * shape((torch.arange(side, dtype=torch.float64) + 0.5) / side)
    return window


class _Cut(torch.autograd.Function):
    """Tiles `b n c *side` of samples; their gradients are added up in order.

    Its context is set up apart, so that torch.func differentiates it too.
    """

    @staticmethod
    def forward(x, corners, sides):  # pyright: ignore[reportIncompatibleMethodOverride]
        return torch.stack(views_at(x, corners, [sides] * len(corners)), 1)

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, corners, sides = inputs
        ctx.shape, ctx.where = x.shape, (corners, [sides] * len(corners))

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        total = grad.new_zeros(ctx.shape)
        add_in_order(views_at(total, *ctx.where), grad.unbind(1))
        return total, None, None
