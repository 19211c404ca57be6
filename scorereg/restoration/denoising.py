r"""A prior as the denoiser of whole images: in tiles where they are larger than its patches.

Tiles lie elsewhere at each step, so that no seam stays where it is: the image is extended by reflection, by a random
number of pixels before and as many behind as complete a tile, and tiles overlap by an eighth.
"""

from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from scorereg.priors.base import Prior
from scorereg.priors.card import PriorCard
from scorereg.priors.outside import denoise_clamped, sigma_range, with_graph
from scorereg.priors.tile import TiledPrior

__all__ = ["ImageDenoiser", "Tiles"]

Tiles = Literal["shifted", "blended", "none"]


class ImageDenoiser:
    """A prior that denoises images of one size, and counts how often it was asked.

    Args:
        prior: The prior, of patches or of images.
        space: Spatial shape of the images.
        tiles: `"shifted"`: tiles that lie elsewhere at each call; `"blended"`: tiles that overlap by half, as those of
            `TiledPrior`, which takes three times as long; `"none"`: the prior is given the whole image. There are no
            tiles without a size on the prior's card, or if that is the image's.
        known: Values without noise, for a conditional prior.
        seed: Seed of the tiles' places.

    Raises:
        ValueError: If there is no such way of tiles, or the image is smaller than the prior's patch.
    """

    def __init__(
        self, prior: Prior, space: tuple[int, ...], *, tiles: Tiles, known: Tensor | None = None, seed: int = 0
    ) -> None:
        if tiles not in get_args(Tiles):
            raise ValueError(f"tiles is one of {', '.join(get_args(Tiles))}, but is {tiles!r}.")
        self.prior = prior
        self.channels = tuple(prior.channels)
        self.card: PriorCard | None = getattr(prior, "card", None)
        self.known = known
        self.calls = 0
        self.low, self.high = sigma_range(prior)
        self._generator = torch.Generator().manual_seed(seed)
        side = tuple(getattr(self.card, "size", ()))
        whole = tiles == "none" or not side or side == space or isinstance(prior, TiledPrior)
        self._side = () if whole else side
        self._whole = prior
        if not whole:
            if len(side) != len(space) or any(have < need for have, need in zip(space, side, strict=True)):
                raise ValueError(
                    f"the prior denoises patches of {side} pixels, and the image has {space}. Give a larger image."
                )
            overlap = [each // 8 if tiles == "shifted" else each // 2 for each in side]
            self._step = [each - shared for each, shared in zip(side, overlap, strict=True)]
            self._whole = TiledPrior(prior, overlap=overlap)
            self._side = side if tiles == "shifted" else ()

    def denoise(
        self, x: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"], known: Bool[Tensor, "..."] | None = None
    ) -> Float[Tensor, "b c *space"]:
        """Return the denoised images; levels outside the card's range are met by `denoise_clamped`."""
        self.calls += 1
        mask = self.known if known is None else known
        if not self._side:
            return denoise_clamped(self._whole, x, sigma, mask).to(x.dtype)
        extents = [self._extent(*one) for one in zip(x.shape[2:], self._side, self._step, strict=True)]
        pads = [pad for extent in reversed(extents) for pad in extent]
        larger = functional.pad(x, pads, mode="reflect")
        if mask is not None:
            mask = functional.pad(mask.expand_as(x).to(x), pads, mode="reflect") > 0.5
        done = denoise_clamped(self._whole, larger, sigma, mask)
        inside = tuple(slice(before, before + side) for (before, _), side in zip(extents, x.shape[2:], strict=True))
        return done[(..., *inside)].to(x.dtype)

    def at(self, x: Float[Tensor, "b c *space"], level: float, *, graph: bool = False) -> Float[Tensor, "b c *space"]:
        """Return the images denoised at one level; with `graph`, differentiable to them.

        Raises:
            ValueError: If there shall be a graph and the prior builds none.
        """
        sigma = torch.full((len(x),), level, dtype=x.dtype, device=x.device)
        if not graph:
            with torch.no_grad():
                return self.denoise(x, sigma)
        with with_graph(), torch.enable_grad():
            out = self.denoise(x, sigma)
        if not out.requires_grad:
            raise ValueError(
                f"this method needs the gradient of the denoiser, and a {type(self.prior).__name__} has none. "
                "Remove no_grad from its denoise(), or take method='diffpir' or 'langevin'."
            )
        return out

    def _extent(self, length: int, side: int, step: int) -> tuple[int, int]:
        """Pixels to add before and behind a length, so that tiles a step apart cover it."""
        if length == side:
            return 0, 0
        before = int(torch.randint(min(step, length), (), generator=self._generator))
        behind = -(length + before - side) % step
        return before, min(behind, length - 1)
