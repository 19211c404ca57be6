"""The numbers of a fit's loop: `Recipe`, and presets of them with the sizes that go along."""

from dataclasses import dataclass

from scorereg.ops import GridShape
from scorereg.rendering.background import BACKGROUND

__all__ = ["CPU", "GPU", "PRESETS", "Preset", "Recipe"]


@dataclass(frozen=True)
class Recipe:
    """The numbers of a fit's loop. Moments of the fit are shares of its steps.

    Args:
        steps: Optimisation steps.
        rays: Photo rays a step.
        samples: Field evaluations a ray.
        proposal_samples: Proposal evaluations a ray.
        anneal: When the proposal is fully trusted; before, samples lie more evenly along a ray.
        lr: Adam's step for grids.
        lr_network: Adam's step for networks.
        lr_final: Factor that the steps fall to, exponentially, at the end of the fit.
        warmup: Steps over which the learning rates rise from 0, linearly.
        average: Share of the steps over which the moving average of the parameters reaches that a fit ends with: its
            decay is 1 - 1 / (average steps). 0 ends with the last parameters.
        coarse_to_fine_end: When the finest level of the field is fully active (`set_active_levels`, where the field has
            it); 0 activates all from the start.
        background: Grey behind everything, in [0, 1]; the default is the mean of all colors (see `UnknownBackground`).
        image_oversampling: Factor on both numbers of samples in `Fit.image`.
    """

    steps: int = 800
    rays: int = 1024
    samples: int = 24
    proposal_samples: int = 48
    anneal: float = 0.1
    lr: float = 1.2e-2
    lr_network: float = 1e-2
    lr_final: float = 1.0
    warmup: int = 20
    average: float = 0.125
    coarse_to_fine_end: float = 0.2
    background: float = BACKGROUND
    image_oversampling: int = 1


@dataclass(frozen=True)
class Preset:
    """A recipe with the size of the hash grid and the number of patches that go along.

    Args:
        recipe: Numbers of the loop.
        grid: Sizes of the default field's hash grid.
        patches: Patches a step of a prior over patches.
    """

    recipe: Recipe
    grid: GridShape
    patches: int = 3


CPU = Recipe()
GPU = Recipe(steps=10_000, rays=4096, samples=48, proposal_samples=96)
PRESETS = {"cpu": Preset(CPU, GridShape()), "gpu": Preset(GPU, GridShape(16, 2, 19, 16, 2048), patches=16)}
