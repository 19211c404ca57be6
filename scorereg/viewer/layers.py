"""What of a render is shown, as colours: a name for each in `LAYERS`."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from scorereg.fit.pictures import COLOR_SPREAD, DEPTH_SPREAD, apply_palette, paint_depth, paint_spread

__all__ = ["LAYERS", "OF_MEMBERS", "Maps"]


@dataclass(frozen=True, eq=False)
class Maps:
    """A render, on the CPU.

    Args:
        rgb: Colour, in [0, 1].
        depth: Planar depth in metres.
        opacity: In [0, 1].
        near: Planar depth at which the scene begins.
        far: Planar depth at which it ends.
        spread: How far the members of an ensemble differ in colour and in depth: `rendering.spread_of`; NaN where one
            fit is shown.
    """

    rgb: Float[Tensor, "h w 3"]
    depth: Float[Tensor, "h w"]
    opacity: Float[Tensor, "h w"]
    near: float
    far: float
    spread: Float[Tensor, "h w 2"]

    def stacked(self) -> Float[Tensor, "h w 7"]:
        """Return all of it as channels: colour, depth, opacity, spread."""
        return torch.cat([self.rgb, self.depth[..., None], self.opacity[..., None], self.spread], -1)

    @classmethod
    def of(cls, values: Float[Tensor, "h w 7"], near: float, far: float) -> "Maps":
        """Make it of what `stacked` returns."""
        return cls(values[..., :3].clamp(0, 1), values[..., 3], values[..., 4].clamp(0, 1), near, far, values[..., 5:])

    def solid(self) -> Float[Tensor, "h w"]:
        """Planar depth in metres where a ray meets something, and very far where it does not."""
        return torch.where(self.opacity > 0.5, self.depth, torch.full_like(self.depth, 1e3))


def _spread(value: Float[Tensor, "h w"], worst: float) -> Float[Tensor, "h w 3"]:
    """The spread as colour; grey where it is not known."""
    return torch.where(value.isnan()[..., None], torch.tensor(0.5), paint_spread(value.nan_to_num(), worst))


LAYERS: dict[str, Callable[[Maps], Float[Tensor, "h w 3"]]] = {
    "colour": lambda maps: maps.rgb,
    "depth": lambda maps: paint_depth(maps.depth * (maps.opacity > 0.1), maps.near, maps.far),
    "opacity": lambda maps: apply_palette(maps.opacity, palette="viridis"),
    "uncertainty of colour": lambda maps: _spread(maps.spread[..., 0], COLOR_SPREAD),
    "uncertainty of depth": lambda maps: _spread(maps.spread[..., 1], DEPTH_SPREAD),
}
"""Functions from a render to a picture with values in [0, 1]."""

OF_MEMBERS = ("uncertainty of colour", "uncertainty of depth")
"""Those that only ensembles have."""
