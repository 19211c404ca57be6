"""A warning for patches far outside the range of a prior: photos from 0 to 255, metres in place of disparity."""

import warnings
from typing import Any

from jaxtyping import Float
from torch import Tensor

__all__ = ["RangeCheck"]

SPREAD = 1.5  # a patch within the range has a root mean square of 1 at most, in half ranges about the middle


class RangeCheck:
    """Watches the patches that a prior is given, and warns once.

    Looked at are the first patch, the second, the fourth, and so on: their root mean square about the middle of the
    card's range, in each channel, against 1.5 half ranges and the noise level. A prior without a card, or one over
    latents, which have no range, is not watched.

    Args:
        prior: The prior.
    """

    def __init__(self, prior: Any) -> None:
        card = getattr(prior, "card", None)
        known = getattr(card, "range", None)
        self.watching = known is not None and getattr(prior, "transform", None) is None
        self.name, self.channels = getattr(card, "name", ""), tuple(prior.channels)
        self.low, self.high = low, high = known or (-1.0, 1.0)
        self.middle, self.half = (low + high) / 2, max((high - low) / 2, 1e-12)
        self.calls = 0

    def excess(self, x: Float[Tensor, "b c *space"], level: Float[Tensor, " b"]) -> Float[Tensor, ""] | None:
        """Return a tensor that is above 1 for a patch far outside, or None if this patch is not looked at.

        Nothing is transferred from a GPU.
        """
        if not self.watching:
            return None
        self.calls += 1
        if self.calls & (self.calls - 1):
            return None
        allowed = SPREAD**2 + (2 * level / self.half).square().mean()  # a patch may have noise of its own
        return (self._squares(x).amax() / allowed).to(x.dtype)

    def warn(self, x: Float[Tensor, "b c *space"]) -> None:
        """Warn of a patch far outside, and stop watching."""
        self.watching = False
        squares = self._squares(x)
        index = int(squares.argmax())
        channel = x[:, index]
        warnings.warn(
            f"ScoreLoss got a patch whose channel {self.channels[index]} goes from {channel.min().item():.4g} to "
            f"{channel.max().item():.4g}, but prior {self.name!r} knows values from {self.low:g} to {self.high:g}. "
            "Convert the patch first: RGBD() does it for colours in [0, 1] and depth in metres.",
            stacklevel=6,
        )

    def _squares(self, x: Tensor) -> Tensor:
        """Mean square of each channel about the middle of the range, in half ranges."""
        return ((x - self.middle) / self.half).square().transpose(0, 1).flatten(1).mean(dim=1)
