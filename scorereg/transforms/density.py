r"""Densities of a voxel grid in prior space.

density    1 / m, >= 0
alpha      share of light that a voxel stops, 1 - exp(-density * voxel), in [0, 1]; occupancy is an alpha of 0 or 1
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
    r"""Densities at the points of a block to prior space, and back.

    $$ x = 2\,(1 - e^{-\tau}) - 1, \qquad \tau = \mathrm{density} \cdot \mathrm{voxel} $$

    Differentiable. The value is exactly this; the gradient where tau exceeds `deep` is the one at `deep`,
    $2 e^{-deep}$, where the formula's own would vanish: a floater of any density can still be deleted. At 0 the slope
    is 2, so that empty space can be filled.

    Args:
        voxel: Distance of a block's points, in metres.
        deep: Optical depth of a voxel beyond which the slope falls no further.

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
        return value + slope * (tau - tau.detach())  # the second term is 0, its gradient is not

    def inverse(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return densities. Solid, x = 1, comes back as an alpha of 0.9999; below -1 counts as empty."""
        alpha = ((x + 1) / 2).clamp(0, 0.9999)
        return -torch.log1p(-alpha) / self.voxel

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` needs, and the formula in words: it goes beside data and onto cards."""
        return {
            "kind": "density",
            "voxel": float(self.voxel),
            "deep": float(self.deep),
            "formula": "x = 2 alpha - 1, alpha = 1 - exp(-density * voxel); of occupancy, alpha is the occupied share",
        }

    @classmethod
    def from_json(cls, entry: dict[str, Any], *, voxel: float | None = None) -> "Density":
        """Return the transform that `to_json` described.

        Args:
            entry: As `to_json` wrote it.
            voxel: The distance of the points in the renderer's own grid, where it is not the data's.

        Raises:
            ValueError: If the entry is of another kind or lacks a number.
        """
        if entry.get("kind") != "density" or not {"voxel", "deep"} <= entry.keys():
            raise ValueError(f"no transform of densities: needs kind 'density', voxel and deep, got {entry}.")
        return cls(entry["voxel"] if voxel is None else voxel, entry["deep"])

    @classmethod
    def for_card(cls, card: PriorCard, *, voxel: float | None = None) -> "Density":
        """Return the transform that a prior was trained with, from its card.

        Args:
            card: Of a prior over blocks of occupancy or density.
            voxel: The distance of the points in the renderer's own grid, where it is not the data's.

        Raises:
            ValueError: If the prior is not one of densities.
        """
        entry = card.training.get("transform", {})
        if len(card.channels) != 1 or len(card.size) != 3 or entry.get("kind") != "density":
            raise ValueError(
                f"the prior {card.name!r} is one of {', '.join(card.channels)} in {len(card.size)} dimensions, not of "
                "blocks of densities. Choose blocks-32, or train one on what scorereg make-blocks writes."
            )
        return cls.from_json(entry, voxel=voxel)
