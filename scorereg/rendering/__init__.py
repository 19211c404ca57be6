"""Radiance fields and their volume rendering; patches of nearby views, depth, background, photo consistency."""

from scorereg.ops import render_weights
from scorereg.rendering.background import BACKGROUND, background_variance
from scorereg.rendering.depth import surface_depth
from scorereg.rendering.ensemble import Ensemble, mean_image, spread_of
from scorereg.rendering.field import Field, contract
from scorereg.rendering.hash_grid import DensityGrid, HashGrid
from scorereg.rendering.mlp import MLP
from scorereg.rendering.patches import Patches, PatchSampler
from scorereg.rendering.stereo import descriptors_count, patch_descriptors, photo_consistency, texture_strength
from scorereg.rendering.volume import (
    DensityFn,
    Render,
    edge_depths,
    midpoints,
    proposal_loss,
    render,
    render_image,
    resample,
)
from scorereg.rendering.voxel_grid import VoxelGrid

__all__ = [
    "BACKGROUND",
    "MLP",
    "DensityFn",
    "DensityGrid",
    "Ensemble",
    "Field",
    "HashGrid",
    "PatchSampler",
    "Patches",
    "Render",
    "VoxelGrid",
    "background_variance",
    "contract",
    "descriptors_count",
    "edge_depths",
    "mean_image",
    "midpoints",
    "patch_descriptors",
    "photo_consistency",
    "proposal_loss",
    "render",
    "render_image",
    "render_weights",
    "resample",
    "spread_of",
    "surface_depth",
    "texture_strength",
]
