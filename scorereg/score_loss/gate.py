"""A gate for patches far from the training data of a prior, judged by the size of their denoising residual."""

import math
from typing import Any

from jaxtyping import Float
from torch import Tensor

__all__ = ["Gate"]


class Gate:
    r"""A factor in (0, 1] for each patch: 1 up to a quantile of clean patches, and falling with the square beyond.

    $$ r = \mathrm{RMS}(x - D(x, \sigma)) / \sigma, \qquad \min(1, (q(\sigma) / r)^2) $$

    q(sigma) is the quantile of r over clean patches on the prior's card, interpolated linearly in log(sigma) and
    constant beyond the levels on the card. Like Cauchy's loss, the gradient falls off for patches far out.

    Args:
        prior: A prior whose card has `residual_quantiles`.
        level: The quantile, such as 0.99; interpolated between those on the card.

    Attributes:
        factor: The factors of the last call, `(b,)`; `None` before the first.

    Raises:
        ValueError: If the card has no quantiles, or `level` is outside their range.
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
        self.level = level
        self.factor: Tensor | None = None
        self.log_sigma = [math.log(sigma) for sigma in recorded["sigma"]]
        self.quantiles = [_interpolate(levels, row, level) for row in recorded["values"]]

    def __call__(self, residual: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Return the factor of each patch from its residual x - D(x, sigma)."""
        quantiles = [_interpolate(self.log_sigma, self.quantiles, math.log(level)) for level in sigma.tolist()]
        rms = residual.flatten(1).square().mean(dim=1).sqrt()
        self.factor = (sigma * sigma.new_tensor(quantiles) / rms).square().clamp(max=1)
        return self.factor


def _interpolate(places: list[float], values: list[float], place: float) -> float:
    """Linear interpolation, constant beyond both ends."""
    right = sum(p < place for p in places)
    if right in (0, len(places)):
        return values[min(right, len(places) - 1)]
    share = (place - places[right - 1]) / (places[right] - places[right - 1])
    return values[right - 1] + share * (values[right] - values[right - 1])
