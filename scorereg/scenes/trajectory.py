"""Smooth, closed camera paths around given cameras, for videos."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from scorereg.cameras import Cameras

__all__ = ["camera_path"]


def camera_path(cameras: Cameras, frames: int, *, depth: float, radius: float = 1.0) -> Cameras:
    """Cameras on an ellipse around the given ones, all looking at one point; the last frame precedes the first.

    The ellipse lies in the plane of the mean camera's right and down axes, around the cameras' mean. Its half axes
    are the cameras' standard deviations along them, times `radius`; where the cameras do not spread, they are a
    fiftieth of `depth`.

    Args:
        cameras: Cameras, usually of the training views.
        frames: Number of frames, >= 1.
        depth: Planar depth, in the mean camera, of the point that all look at, > 0.
        radius: Factor on the half axes, dimensionless; with 1.41 two cameras lie on the ellipse's ends.

    Raises:
        ValueError: If there is no camera, `frames` is below 1 or `depth` is not positive.
    """
    if not len(cameras) or frames < 1 or not depth > 0:
        raise ValueError(
            f"camera_path needs at least one camera, frames >= 1 and depth > 0; got {len(cameras)} cameras, "
            f"frames={frames}, depth={depth}."
        )
    u, _, v = torch.linalg.svd(cameras.pose[:, :, :3].double().mean(0))
    mean = (u @ torch.diag(torch.tensor([1, 1, torch.linalg.det(u @ v)])).to(u) @ v).float()
    middle = cameras.origins.mean(0)
    spread = ((cameras.origins - middle) @ mean[:, :2]).square().mean(0).sqrt()
    axes = radius * torch.where(spread > 0.001 * depth, spread, torch.full_like(spread, depth / 50))
    angle = 2 * math.pi * torch.arange(frames) / frames
    around = torch.stack([angle.cos(), angle.sin()], -1).to(mean) * axes
    poses = _looking_at(middle + around @ mean[:, :2].T, middle + depth * mean[:, 2], mean[:, 1])
    focal, center = (x.mean(0).expand(frames, 2) for x in (cameras.focal, cameras.center))
    return Cameras(poses, focal, center, cameras.width, cameras.height)


def _looking_at(
    origins: Float[Tensor, "n 3"], target: Float[Tensor, " 3"], down: Float[Tensor, " 3"]
) -> Float[Tensor, "n 3 4"]:
    forward = torch.nn.functional.normalize(target - origins, dim=-1)
    right = torch.nn.functional.normalize(torch.linalg.cross(down.expand_as(forward), forward), dim=-1)
    return torch.stack([right, torch.linalg.cross(forward, right), forward, origins], -1)
