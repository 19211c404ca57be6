"""Diffusion priors as regularisers for anything that is optimised by gradient descent.

A denoiser D of a trained diffusion model knows the score of its data, (D(x, sigma) - x) / sigma^2. `ScoreLoss` denoises
what a differentiable renderer shows and sends the score back as a gradient. Letters and units, in every module:

    b c h w     batch, channels, height, width; a patch is `b c h w` and its channels have names
    x           a patch in prior space: every channel in [-1, 1]
    sigma       noise level in prior-space units, one per patch; x_sigma = x + sigma n, n ~ N(0, I)
    depth       planar z along the optical axis, never the distance along the ray
    pose        world from camera, OpenCV axes: x right, y down, z forward
"""

from scorereg import baselines, estimators, metrics, schedules
from scorereg.cameras import Cameras, Rays
from scorereg.densities import Density
from scorereg.fields import Field, HashGrid
from scorereg.fit import Recipe, fit_scene
from scorereg.patches import Patches, PatchSampler
from scorereg.priors.base import Prior
from scorereg.priors.base import score as _score
from scorereg.priors.card import PriorCard
from scorereg.priors.gaussian import GaussianFieldPrior
from scorereg.priors.load import load_prior
from scorereg.priors.network import NetworkPrior
from scorereg.ray_weights import RayWeights, rebin
from scorereg.rendering import Render, render
from scorereg.scenes import Scene, load_scene
from scorereg.score import ScoreLoss
from scorereg.surface_depth import surface_depth
from scorereg.transforms import RGBD
from scorereg.voxel_grid import VoxelGrid

score = _score  # last, as importing the module of this name has bound the name to it

__all__ = [
    "RGBD",
    "Cameras",
    "Density",
    "Field",
    "GaussianFieldPrior",
    "HashGrid",
    "NetworkPrior",
    "PatchSampler",
    "Patches",
    "Prior",
    "PriorCard",
    "RayWeights",
    "Rays",
    "Recipe",
    "Render",
    "Scene",
    "ScoreLoss",
    "VoxelGrid",
    "baselines",
    "estimators",
    "fit_scene",
    "load_prior",
    "load_scene",
    "metrics",
    "rebin",
    "render",
    "schedules",
    "score",
    "surface_depth",
]
