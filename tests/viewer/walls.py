"""A scene of three cameras before a wall, and fits of one colour, for pages that need no training."""

import math

import torch

from scorereg.cameras import Cameras
from scorereg.fit import Fit
from scorereg.scenes import Scene


def scene(name="wall", *, photos=True):
    pose = torch.eye(3, 4).repeat(3, 1, 1)
    pose[:, 0, 3] = torch.tensor([-0.4, 0.0, 0.4])
    cameras = Cameras(pose, torch.full((3, 2), 24.0), torch.tensor([[16.0, 12.0]] * 3), 32, 24)
    images = torch.full((3, 24, 32, 3), 0.5 if photos else math.nan)
    return Scene(name, images, cameras, None, (0, 2), (1,), 1.0, 4.0, 1.0, True, ("0.png", "1.png", "2.png"))


class Wall(Fit):
    """A wall of one colour at z = 2, seen by all rays."""

    __setattr__ = object.__setattr__

    def __init__(self, color, name="wall"):
        self.color, self.scene, self.rays = torch.tensor(color), scene(name), 0

    @property
    def members(self):
        return (self,)

    def image(self, rays, *, spread=False):
        self.rays += rays.shape.numel()
        z = rays.directions[..., 2]
        depth = torch.where(z > 1e-3, (2 - rays.origins[..., 2]) / z.clamp_min(1e-3), 4.0)
        image = self.color.expand(*rays.shape, 3).clone(), depth, torch.ones(rays.shape)
        return (*image, None, None) if spread else image
