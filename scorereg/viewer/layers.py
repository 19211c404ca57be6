"""What of a render is shown, as colours: a name for each in `LAYERS`."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from scorereg.fit.pictures import apply_palette, paint_depth

__all__ = ["LAYERS", "Maps"]


@dataclass(frozen=True, eq=False)
class Maps:
    """A render, on the CPU.

    Args:
        rgb: Colour, in [0, 1].
        depth: Planar depth in metres.
        opacity: In [0, 1].
        near: Planar depth at which the scene begins.
        far: Planar depth at which it ends.
    """

    rgb: Float[Tensor, "h w 3"]
    depth: Float[Tensor, "h w"]
    opacity: Float[Tensor, "h w"]
    near: float
    far: float

    def solid(self) -> Float[Tensor, "h w"]:
        """Planar depth in metres where a ray meets something, and very far where it does not."""
        return torch.where(self.opacity > 0.5, self.depth, torch.full_like(self.depth, 1e3))


LAYERS: dict[str, Callable[[Maps], Float[Tensor, "h w 3"]]] = {
    "colour": lambda maps: maps.rgb,
    "depth": lambda maps: paint_depth(maps.depth * (maps.opacity > 0.1), maps.near, maps.far),
    "opacity": lambda maps: apply_palette(maps.opacity, palette="viridis"),
}
"""Functions from a render to a picture with values in [0, 1]."""
