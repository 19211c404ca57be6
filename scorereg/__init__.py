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
from scorereg.fit.fit import Recipe, fit_scene
from scorereg.priors.base import Prior, score
from scorereg.priors.card import PriorCard
from scorereg.priors.gaussian import GaussianFieldPrior
from scorereg.priors.load import load_prior
from scorereg.priors.networks.edm import NetworkPrior
from scorereg.rendering.depth import surface_depth
from scorereg.rendering.hash_grid import Field, HashGrid
from scorereg.rendering.patches import Patches, PatchSampler
from scorereg.rendering.volume import Render, render
from scorereg.rendering.voxel_grid import VoxelGrid
from scorereg.scenes import Scene, load_scene
from scorereg.score_loss.loss import ScoreLoss
from scorereg.transforms.density import Density
from scorereg.transforms.ray_weights import RayWeights, rebin
from scorereg.transforms.rgbd import RGBD

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
