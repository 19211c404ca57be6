r"""Conversion of voxel densities to prior space and back.

density    1 / m, >= 0
alpha      opacity of a voxel, 1 - exp(-density * voxel), in [0, 1]; occupancy is an alpha of 0 or 1
x          prior space: 2 alpha - 1, -1 is empty and 1 is solid
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from scorereg.priors.card import PriorCard

__all__ = ["Density"]


@dataclass(frozen=True)
class Density:
    r"""Volume densities of a block of voxels to prior space, and back.

    $$ x = 2\,(1 - e^{-\tau}) - 1, \qquad \tau = \mathrm{density} \cdot \mathrm{voxel} $$

    Differentiable. Where tau exceeds `deep`, the gradient is that at `deep`, $2 e^{-deep}$, because the derivative of
    the formula vanishes there and dense floaters could not be removed. At 0 the slope is 2, so empty space can be
    filled.

    Args:
        voxel: Distance between neighbouring voxels in metres, > 0.
        deep: Optical depth of a voxel beyond which the slope is constant, > 0.

    Example:
        >>> import torch
        >>> from scorereg import Density
        >>> transform = Density(voxel=0.1)
        >>> x = transform(torch.tensor([0.0, 9.163, 1000.0]))
        >>> [round(value, 3) for value in x.tolist()]
        [-1.0, 0.2, 1.0]
        >>> round(transform.inverse(x)[1].item(), 2)
        9.16
    """

    voxel: float | int
    deep: float | int = 3.0

    def __post_init__(self) -> None:
        if not 0 < self.voxel < float("inf") or not 0 < self.deep < float("inf"):
            raise ValueError(f"Density needs voxel > 0, in metres, and deep > 0; got {self.voxel} and {self.deep}.")

    def __call__(self, density: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the block in prior space.

        Raises:
            ValueError: If a density is negative or not finite.
        """
        shown = density.detach()
        if not torch.isfinite(shown).all() or (shown < 0).any():
            raise ValueError(f"Density needs finite densities >= 0; the smallest given is {shown.min().item():g}.")
        tau = density * self.voxel
        value = 1 - 2 * torch.exp(-tau.detach())
        slope = 2 * torch.exp(-tau.detach().clamp_max(self.deep))
        return value + slope * (tau - tau.detach())  # the second term is 0 and only sets the gradient

    def inverse(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return densities in 1 / m. Alpha is clamped to [0, 0.9999], so that they are finite."""
        alpha = ((x + 1) / 2).clamp(0, 0.9999)
        return -torch.log1p(-alpha) / self.voxel

    def to_json(self) -> dict[str, Any]:
        """Return a description for data sets and cards, which `from_json` reads; it has the formula too."""
        return {
            "kind": "density",
            "voxel": float(self.voxel),
            "deep": float(self.deep),
            "formula": "x = 2 alpha - 1, alpha = 1 - exp(-density * voxel); of occupancy, alpha is the occupied share",
        }

    @classmethod
    def from_json(cls, entry: dict[str, Any], *, voxel: float | None = None) -> "Density":
        """Return the transform that `to_json` describes.

        Args:
            entry: Output of `to_json`.
            voxel: Voxel distance of the renderer's grid in metres; by default that of the data.

        Raises:
            ValueError: If the entry is of another kind or lacks a number.
        """
        if entry.get("kind") != "density" or not {"voxel", "deep"} <= entry.keys():
            raise ValueError(f"A transform of densities needs kind 'density', voxel and deep, but got {entry}.")
        return cls(entry["voxel"] if voxel is None else voxel, entry["deep"])

    @classmethod
    def for_card(cls, card: PriorCard, *, voxel: float | None = None) -> "Density":
        """Return the transform of a prior's training data, from its card.

        Args:
            card: Card of a prior over blocks of occupancy or density.
            voxel: Voxel distance of the renderer's grid in metres; by default that of the data.

        Raises:
            ValueError: If the prior is not over densities.
        """
        entry = card.training.get("transform", {})
        if len(card.channels) != 1 or len(card.size) != 3 or entry.get("kind") != "density":
            raise ValueError(
                f"The prior {card.name!r} is one of {', '.join(card.channels)} in {len(card.size)} dimensions, not of "
                "blocks of densities. Choose blocks-32, or train one on what scorereg make-blocks writes."
            )
        return cls.from_json(entry, voxel=voxel)
