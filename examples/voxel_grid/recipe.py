"""The numbers of a fit of a voxel grid: `Recipe`, and one set of them for a CPU and one for a GPU."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

__all__ = ["CPU", "GPU", "Recipe", "Regularize"]

Regularize = Literal["none", "tv", "blocks", "blocks+rgbd"]


@dataclass(frozen=True)
class Recipe:
    """The numbers of a fit. Moments of the fit are shares of its steps.

    Args:
        steps: Optimisation steps.
        rays: Photo rays a step.
        samples: Field evaluations a ray.
        proposal_samples: Evaluations of the density a ray, without gradient, that say where the field is asked.
        anneal: When these are fully trusted; before, samples lie more evenly along a ray.
        vertices: Of the grid when it begins; each refinement takes it to almost eight times as many.
        refine: When the distance of the vertices is halved.
        view_degree: Of the colour's dependence on the direction.
        lr: Adam's step for the logarithm of the density, falling to a tenth.
        lr_colour: The same for colours.
        lr_view: The same for the colours' dependence on the direction.
        tv: Weight of total variation of the logarithm of the density.
        tv_colour: Weight of total variation of colours.
        blocks: Blocks a step.
        block_weight: Weight of the blocks' prior.
        block_sigma: Its noise level at its start and at its end.
        block_start: When it begins.
        perturb: Whether blocks are shown to their prior with noise, as in score distillation.
        voxel: Smallest and largest distance of a block's points, metres.
        unseen: Share of the blocks that are drawn where fewer than two cameras look.
        spare_seen: Whether the blocks' prior moves only points that fewer than two cameras look at.
        patches: Patches in a step that has any.
        patch_every: A step in so many has patches.
        patch_start: When the RGB-D prior begins.
        patch_sigma: Its noise level at its start and at its end.
        patch_rgb: Weight of its pull on colours.
        patch_disparity: Weight of its pull on disparity.
        prior_weight: w(sigma) of both priors.
    """

    steps: int = 400
    rays: int = 1024
    samples: int = 24
    proposal_samples: int = 64
    anneal: float = 0.1
    vertices: int = 24_000
    refine: tuple[float, ...] = (0.2, 0.45)
    view_degree: int = 2
    lr: float = 0.15
    lr_colour: float = 0.1
    lr_view: float = 0.02
    tv: float = 3e-2
    tv_colour: float = 3e-3
    blocks: int = 1
    block_weight: float = 3e-5
    block_sigma: tuple[float, float] = (1.0, 0.3)
    block_start: float = 0.3
    perturb: bool = False
    voxel: tuple[float, float] = (0.05, 0.1)
    unseen: float = 0.5
    spare_seen: bool = False
    patches: int = 2
    patch_every: int = 2
    patch_start: float = 0.5
    patch_sigma: tuple[float, float] = (0.1, 0.02)
    patch_rgb: float = 2e-3
    patch_disparity: float = 2e-3
    prior_weight: Callable[[Tensor], Tensor] = torch.square


CPU = Recipe()
GPU = Recipe(steps=5000, rays=4096, samples=64, proposal_samples=128, vertices=100_000, blocks=8, patches=8)
