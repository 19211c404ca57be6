r"""Fusion of depth maps into a truncated signed distance (Curless and Levoy 1996), in torch.

At a grid point with depth z in a view that shows depth D there, $d = \min((D - z) / \tau, 1)$; points with
$d < -1$ are hidden in that view and do not count. Distances and colors are averaged over the views. A surface is where
the average is 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from scorereg._progress import steps
from scorereg.export.frames import Frame
from scorereg.export.points import sure_depth

__all__ = ["Volume", "fuse", "room_of"]

_SLAB = 2**20  # grid points that are projected at once
_MARGIN = 0.02  # share of the room's sides that is added
_TAIL = 0.002  # share of the pixels at either end along an axis that may lie outside of the room


@dataclass(frozen=True, eq=False)
class Volume:
    """A truncated signed distance on a grid.

    Args:
        distance: In units of the truncation, positive before surfaces; 1 where nothing was seen.
        weight: Number of views that saw a point.
        near: Number of views that saw a surface within the truncation of a point.
        color: Their mean color, in [0, 1].
        low: First grid point, in metres.
        voxel: Distance of the grid points, in metres.
    """

    distance: Float[Tensor, "x y z"]
    weight: Float[Tensor, "x y z"]
    near: Float[Tensor, "x y z"]
    color: Float[Tensor, "3 x y z"]
    low: Float[Tensor, " 3"]
    voxel: float


def room_of(frames: Sequence[Frame]) -> tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]]:
    """Return the corners of the box that holds what views show, but for a few outliers.

    Raises:
        ValueError: If no depth is known in any view.
    """
    points = torch.cat([frame.points()[sure_depth(frame.depth)][::7] for frame in frames])
    if len(points) < 8:
        raise ValueError("the mesh is empty: no ray of the views is opaque. Fit longer, or give other --cameras.")
    ordered = points.sort(0).values
    tail = int(_TAIL * len(points))
    low, high = ordered[tail], ordered[len(points) - 1 - tail]
    margin = _MARGIN * (high - low).max()
    return low - margin, high + margin


@torch.no_grad()
def fuse(
    frames: Sequence[Frame], low: Float[Tensor, " 3"], high: Float[Tensor, " 3"], voxel: float, *, truncation: float
) -> Volume:
    """Fuse the depth of views on a grid.

    Args:
        frames: The views.
        low: Least corner of the grid, in metres.
        high: Greatest corner, which it reaches at least.
        voxel: Distance of the grid points, in metres, > 0.
        truncation: tau, in metres, > 0.
    """
    counts = [int(n) + 2 for n in ((high - low) / voxel).tolist()]
    axes = [low[i] + voxel * torch.arange(n) for i, n in enumerate(counts)]
    total = torch.zeros(counts)
    weight, color = torch.zeros_like(total), torch.zeros(3, *counts)
    near = torch.zeros_like(total)
    thick = max(_SLAB // (counts[1] * counts[2]), 1)
    for frame in steps("fusing depth", frames):
        depth = torch.where(sure_depth(frame.depth), frame.depth, 0.0).flatten()
        for start in range(0, counts[0], thick):
            slab = slice(start, start + thick)
            points = torch.stack(torch.meshgrid(axes[0][slab], axes[1], axes[2], indexing="ij"), -1)
            distance, rgb = _seen(frame, depth, points, truncation)
            counted, close = distance >= -1, distance.abs() < 1
            total[slab] += torch.where(counted, distance, 0.0)
            weight[slab] += counted
            near[slab] += close
            color[:, slab] += torch.where(close, rgb, 0.0)
    mean = torch.where(weight > 0, total / weight.clamp_min(1), 1.0)
    return Volume(mean, weight, near, color / near.clamp_min(1), low, voxel)


def _seen(
    frame: Frame, sure: Float[Tensor, " pixels"], points: Float[Tensor, "x y z 3"], truncation: float
) -> tuple[Float[Tensor, "x y z"], Float[Tensor, "3 x y z"]]:
    """Truncated distance of grid points in a view, below -1 where it does not tell, and the view's color there."""
    camera = frame.camera
    pixel, z = camera.project(points, torch.zeros(points.shape[:-1], dtype=torch.long))
    column, row = pixel[..., 0].floor(), pixel[..., 1].floor()
    inside = (z > 0) & (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    place = torch.where(inside, row * camera.width + column, 0.0).long()
    depth = sure[place]
    distance = ((depth - z) / truncation).clamp_max(1)
    rgb = frame.rgb.reshape(-1, 3).T[:, place]
    return torch.where(inside & (depth > 0), distance, -2.0), rgb
