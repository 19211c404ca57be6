"""Conversions between a renderer's units and prior space: RGB-D patches, weights along rays, voxel densities."""

from scorereg.transforms.density import Density
from scorereg.transforms.ray_weights import RayWeights, rebin
from scorereg.transforms.rgbd import RGBD

__all__ = ["RGBD", "Density", "RayWeights", "rebin"]
