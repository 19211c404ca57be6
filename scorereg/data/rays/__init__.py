"""Weights along rays for training, made from depth maps."""

from scorereg.data.rays.make import RayMix, make_rays, rays_of_depth
from scorereg.data.rays.spread import Spread, bin_surfaces, draw_spread

__all__ = ["RayMix", "Spread", "bin_surfaces", "draw_spread", "make_rays", "rays_of_depth"]
