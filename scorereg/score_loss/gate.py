"""How far a patch is from what a prior was trained on, by the size of its denoising residual."""

import math
from typing import Any

from jaxtyping import Float
from torch import Tensor

__all__ = ["Gate"]


class Gate:
    r"""A factor in (0, 1] for each patch: 1 where its residual is usual, and falling with the square beyond.

    $$ r = \mathrm{RMS}(x - D(x, \sigma)) / \sigma, \qquad \min(1, (q(\sigma) / r)^2) $$

    with q(sigma) the quantile that the prior's card records of clean patches, interpolated in log(sigma) and held
    beyond the levels that were measured. A pull then shrinks the farther a patch is out, like that of Cauchy's loss.

    Args:
        prior: One with a card that has `residual_quantiles`.
        level: Which quantile is still usual, such as 0.99; interpolated between those on the card.

    Attributes:
        factor: What it returned last, `(b,)`; `None` before the first call.

    Raises:
        ValueError: If the card records none, or not at that level.
    """

    def __init__(self, prior: Any, level: float) -> None:
        recorded = getattr(getattr(prior, "card", None), "residual_quantiles", None)
        if not recorded:
            raise ValueError(
                "ScoreLoss(gate=...) needs a prior whose card records residual_quantiles, which this one does not. "
                "Leave the gate out, or measure them: the card's documentation says what they are."
            )
        levels = recorded["levels"]
        if not levels[0] <= level <= levels[-1]:
            raise ValueError(f"ScoreLoss needs gate from {levels[0]:g} to {levels[-1]:g}, as measured; got {level:g}.")
        self.factor: Tensor | None = None
        self.log_sigma = [math.log(sigma) for sigma in recorded["sigma"]]
        self.usual = [_between(levels, row, level) for row in recorded["values"]]

    def __call__(self, residual: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Return the factor of each patch from its residual x - D(x, sigma)."""
        usual = [_between(self.log_sigma, self.usual, math.log(level)) for level in sigma.tolist()]
        rms = residual.flatten(1).square().mean(dim=1).sqrt()
        self.factor = (sigma * sigma.new_tensor(usual) / rms).square().clamp(max=1)
        return self.factor


def _between(places: list[float], values: list[float], place: float) -> float:
    """Linear interpolation, constant beyond both ends."""
    right = sum(p < place for p in places)
    if right in (0, len(places)):
        return values[min(right, len(places) - 1)]
    share = (place - places[right - 1]) / (places[right] - places[right - 1])
    return values[right - 1] + share * (values[right] - values[right - 1])
