"""From a renderer's units to prior space and back: RGB-D patches, weights along rays, densities of voxels."""

from scorereg.transforms.density import Density
from scorereg.transforms.ray_weights import RayWeights, rebin
from scorereg.transforms.rgbd import RGBD

__all__ = ["RGBD", "Density", "RayWeights", "rebin"]
