"""The numbers of a fit: `Recipe`, and one set of them for a CPU and one for a GPU."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from scorereg.estimators import Name
from scorereg.ops import GridShape
from scorereg.ops._hash_encode.op import Backend

__all__ = ["CPU", "GPU", "Recipe", "Regularize"]

Regularize = Literal["none", "geometric", "prior"]


@dataclass(frozen=True)
class Recipe:
    """The numbers of a fit. Moments of the fit are shares of its steps.

    Args:
        steps: Optimisation steps.
        rays: Photo rays a step.
        samples: Field evaluations a ray.
        proposal_samples: Proposal evaluations a ray.
        anneal: When the proposal is fully trusted; before, samples lie more evenly along a ray.
        shape: Of the hash grid.
        lr: Adam's step for the grids, after a short rise.
        lr_network: The same for the two small networks.
        average: Over which share of the steps the moving average of the parameters reaches that a fit ends with: its
            decay is 1 - 1 / (average steps). 0 ends with the last ones.
        view_degree: Of the colour's dependence on the direction.
        reveal: Until when the finer levels are held back.
        falloff: Of `HashGrid`: how much slower the finest level learns than the coarsest.
        opacity: Weight of `baselines.opacity`.
        frustum: Weight of `baselines.frustum`.
        distortion: Weight of `baselines.distortion`, in log depth.
        distortion_start: When it begins to rise; it has its weight after as long again.
        consistency: Weight of `consistency.consistency` on the photo rays, for photos of `consistency.texture` 1.
        decay: Weight of the mean squared table entry.
        patches: Patches a step.
        geometric_patches: Render patches for the geometric terms too where there is no prior; an ablation.
        focal: Focal lengths of patches in pixels; `None` takes the prior's.
        translation: How far a patch's camera is moved from a training camera along each axis, in metres.
        rotation: How far it is turned, in radians.
        known_rgb: Share of the patches that are seen by a training camera and take their colours from its photo.
        sigma: Noise level of the prior at its start and at its end.
        prior_start: When the prior begins.
        prior_end: When the prior ends, and sigma is at its last value; from there on the photos sharpen again what it
            has smoothed.
        prior_disparity: Weight of the prior's pull on disparity.
        prior_rgb: Weight of its pull on colours.
        prior_band: Of `surface_depth`, through which the prior pulls on depth; 0 is the expected depth.
        prior_weight: w(sigma) of `ScoreLoss`.
        estimator: Of `estimators.by_name`: how the score is estimated.
        gate: Of `ScoreLoss`.
        normalize: Of `ScoreLoss`.
        backend: Of `HashGrid`.
    """

    steps: int = 800
    rays: int = 1024
    samples: int = 24
    proposal_samples: int = 48
    anneal: float = 0.1
    shape: GridShape = field(default_factory=GridShape)
    lr: float = 1.2e-2
    lr_network: float = 1e-2
    average: float = 0.125
    view_degree: int = 1
    reveal: float = 0.2
    falloff: float = 0.1
    opacity: float = 2e-2
    frustum: float = 1e-3
    distortion: float = 1e-2
    distortion_start: float = 0.25
    consistency: float = 5.5e-2
    decay: float = 0.0
    patches: int = 3
    geometric_patches: bool = False
    focal: tuple[float, float] | None = None
    translation: float = 0.2
    rotation: float = 0.3
    known_rgb: float = 0.5
    sigma: tuple[float, float] = (0.1, 0.038)
    prior_start: float = 0.5
    prior_end: float = 0.8
    prior_disparity: float = 5e-3
    prior_rgb: float = 2e-3
    prior_band: float = 0.1
    prior_weight: Callable[[Tensor], Tensor] = torch.square
    estimator: Name = "direct"
    gate: float | None = None
    normalize: Literal["rms"] | None = None
    backend: Backend | Literal["tinycudann"] = "auto"


CPU = Recipe()
GPU = Recipe(steps=10_000, rays=4096, samples=48, proposal_samples=96, patches=16, shape=GridShape(16, 2, 19, 16, 2048))
