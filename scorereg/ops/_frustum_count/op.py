r"""Number of cameras that see a point, and a penalty on weight where too few do.

A point p is in the frustum of a camera with center o if it is inside four planes through o, `N (p - o) >= 0` for the
rows of N (left, right, top, bottom), and deep enough, `z > near`. Nothing is divided.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scorereg.cameras import Cameras
from scorereg.ops.dispatch import use_triton

__all__ = ["frustum_count", "frustum_count_reference", "frustum_penalty", "frustum_penalty_reference"]

Weights = Float[Tensor, "*rays n"]
Points = Float[Tensor, "*rays n 3"]


def frustum_count(
    points: Float[Tensor, "*p 3"], cameras: Cameras, *, near: float = 0.0, margin: float = 0.0
) -> Int[Tensor, "*p"]:
    """Count the cameras that see each point, as `Cameras.visible` defines it. No gradient.

    Args:
        points: World coordinates.
        cameras: The cameras, any number of them.
        near: Least depth of a visible point, exclusive, >= 0, in the unit of the poses.
        margin: Least distance of a visible point from the image's border, in pixels.
    """
    planes, points = _planes(cameras, near, margin), points.detach()
    if use_triton(points, planes):
        from scorereg.ops._frustum_count.kernels import frustum_count_triton  # imported only where it can run

        return frustum_count_triton(points, planes, near)
    return _count(points, planes, near)


def frustum_penalty(
    weights: Weights, points: Points, cameras: Cameras, *, views: int = 2, near: float = 0.0, margin: float = 0.0
) -> Float[Tensor, "*rays"]:
    r"""Sum $\sum_i w_i \max(0, \mathrm{views} - \mathrm{count}_i)$ along each ray (DiffusioNeRF, section 3.4).

    Differentiable once, to the weights alone. The kernel keeps one byte a sample for the backward pass.

    Args:
        weights: Weight of each sample; sums are float32 (float64 of float64).
        points: World coordinates of the samples.
        cameras: The training cameras.
        views: Number of cameras that should see a point, at most 255.
        near: As in `frustum_count`.
        margin: As in `frustum_count`.
    """
    planes, points = _planes(cameras, near, margin), points.detach()
    if use_triton(weights, points, planes):
        from scorereg.ops._frustum_count.kernels import frustum_penalty_triton  # imported only where it can run

        return frustum_penalty_triton(weights, points, planes, near, views)
    missing = (views - _count(points, planes, near)).clamp_min(0)
    return torch.linalg.vecdot(weights if weights.dtype == torch.float64 else weights.float(), missing.to(planes.dtype))


def frustum_count_reference(
    points: Float[Tensor, "*p 3"], cameras: Cameras, *, near: float = 0.0, margin: float = 0.0
) -> Int[Tensor, "*p"]:
    """The definition of `frustum_count`."""
    return cameras.visible(points.detach(), near=near, margin=margin).sum(0)


def frustum_penalty_reference(
    weights: Weights, points: Points, cameras: Cameras, *, views: int = 2, near: float = 0.0, margin: float = 0.0
) -> Float[Tensor, "*rays"]:
    """The definition of `frustum_penalty`, with torch's own gradient."""
    count = frustum_count_reference(points, cameras, near=near, margin=margin)
    return (weights * (views - count).clamp_min(0)).sum(-1)


def _planes(cameras: Cameras, near: float, margin: float) -> Float[Tensor, "k 6 3"]:
    """Rows of N, the forward axis and the center of each camera."""
    right, down, forward = cameras.pose[:, :, :3].unbind(2)
    low = margin - cameras.center
    high = cameras.image_size - margin - cameras.center
    sides = [
        sign * (cameras.focal[:, axis, None] * along - bound[:, axis, None] * forward)
        for axis, along in enumerate((right, down))
        for sign, bound in ((1, low), (-1, high))
    ]
    return torch.stack([*sides, forward, cameras.pose[:, :, 3]], 1).contiguous()


def _count(points: Float[Tensor, "*p 3"], planes: Float[Tensor, "k 6 3"], near: float) -> Int[Tensor, "*p"]:
    """Count camera by camera, so that no tensor of points times cameras is written."""
    flat = points.reshape(-1, 3).t().to(planes.dtype).contiguous()
    count = torch.zeros(flat.shape[1], dtype=torch.long, device=points.device)
    for camera in planes:
        inside = camera[:5] @ (flat - camera[5, :, None])
        count += (inside[:4].amin(0) >= 0) & (inside[4] > near)
    return count.reshape(points.shape[:-1])
