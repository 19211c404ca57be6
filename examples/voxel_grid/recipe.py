"""The numbers of a fit of a voxel grid for a CPU and for a GPU."""

from dataclasses import dataclass, field
from typing import Any

from scorereg.fit import Recipe

__all__ = ["PRESETS", "GridPreset"]


@dataclass(frozen=True)
class GridPreset:
    """A recipe with the grid's size and the settings of the priors.

    Args:
        recipe: Numbers of the loop; `lr` is that of the densities, `lr_network` that of the view dependence. Photos are
            before black, and steps fall to a tenth.
        vertices: Vertices of the grid at the start; each refinement takes it to almost eight times as many.
        refine_at: Shares of the steps at which the distance of the vertices is halved.
        blocks: Settings of `BlockPrior`.
        patches: Settings of `PatchPrior`.
    """

    recipe: Recipe
    vertices: int = 24_000
    refine_at: tuple[float, ...] = (0.2, 0.45)
    blocks: dict[str, Any] = field(default_factory=dict)
    patches: dict[str, Any] = field(default_factory=dict)


_LOOP: dict[str, Any] = {
    "lr": 0.15,
    "lr_network": 0.02,
    "lr_final": 0.1,
    "warmup": 1,
    "average": 0.0,
    "background": 0.0,
    "image_oversampling": 2,
}
_PATCHES: dict[str, Any] = {"sigma": (0.1, 0.02), "start": 0.5, "end": 1.0, "rgb": 2e-3, "disparity": 2e-3, "band": 0.0}
PRESETS = {
    "cpu": GridPreset(Recipe(steps=400, proposal_samples=64, **_LOOP), patches={"patches": 1, **_PATCHES}),
    "gpu": GridPreset(
        Recipe(steps=5000, rays=4096, samples=64, proposal_samples=128, **_LOOP),
        vertices=100_000,
        blocks={"blocks": 8},
        patches={"patches": 4, **_PATCHES},
    ),
}
