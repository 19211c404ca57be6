r"""How much a fit puts where there is nothing.

empty        a point that the true depth of at least one view shows to be free: it lies in that view's image, behind
             `near`, and more than `margin` of the depth before the surface that is seen there
mass         sum over a lattice of empty points of alpha voxel^3, alpha = 1 - exp(-density voxel): cubic metres of
             opaque matter in empty space
share        mean of alpha over the same points: the same without the size of the room
"""

import torch
from jaxtyping import Float
from torch import Tensor

from scorereg.cameras import Cameras
from scorereg.rendering import DensityFn

__all__ = ["empty_points", "floaters"]


def empty_points(
    depth: Float[Tensor, "n h w"], cameras: Cameras, *, near: float, voxel: float = 0.05, margin: float = 0.1
) -> Float[Tensor, "p 3"]:
    """The points of a lattice that true depth shows to be free.

    Args:
        depth: True planar depth of the views, metres, 0 where unknown.
        cameras: Of the same views.
        near: What lies nearer to a camera is not known to be free by it, metres.
        voxel: Distance of the points, metres.
        margin: Share of the depth by which a point must lie before the surface.
    """
    seen = torch.cat([_ends(view, cameras, index) for index, view in enumerate(depth)] + [cameras.origins])
    low, high = seen.amin(0), seen.amax(0)
    counts = ((high - low) / voxel).floor().long() + 1
    lines = [low[axis] + voxel * torch.arange(int(counts[axis])).to(low) for axis in range(3)]
    parts = []
    for x in lines[0]:  # a slice at a time: a room has a million points
        y, z = torch.meshgrid(lines[1], lines[2], indexing="ij")
        points = torch.stack([x.expand_as(y), y, z], -1).reshape(-1, 3)
        free = torch.zeros(len(points), dtype=torch.bool, device=points.device)
        for index in range(len(cameras)):
            free |= _before(points, depth[index], cameras, index, near, 1 - margin)
        parts.append(points[free])
    return torch.cat(parts)


@torch.no_grad()
def floaters(density: DensityFn, points: Float[Tensor, "p 3"], voxel: float = 0.05) -> dict[str, float | None]:
    """Mass in m^3 and mean alpha at the points; None where there is no point.

    Args:
        density: 1 / m, of points.
        points: Of `empty_points`.
        voxel: Their distance.
    """
    if not len(points):
        return {"floater_mass": None, "floater_share": None}
    alpha = torch.cat([-torch.expm1(-density(piece) * voxel) for piece in points.split(100_000)])
    return {"floater_mass": (alpha.double().sum() * voxel**3).item(), "floater_share": alpha.double().mean().item()}


def _ends(depth: Tensor, cameras: Cameras, index: int) -> Tensor:
    rays = cameras.image_rays(index)
    return (rays.origins + rays.directions * depth[..., None])[depth > 0]


def _before(points: Tensor, depth: Tensor, cameras: Cameras, index: int, near: float, share: float) -> Tensor:
    """Which points lie in one view's image, behind `near` and before its surface."""
    pose = cameras.pose[index]
    local = (points - pose[:, 3]) @ pose[:, :3]
    z = local[:, 2]
    pixel = local[:, :2] / z.clamp_min(1e-6)[:, None] * cameras.focal[index] + cameras.center[index]
    column, row = pixel.floor().long().unbind(-1)
    inside = (z > near) & (column >= 0) & (column < cameras.width) & (row >= 0) & (row < cameras.height)
    at = depth[row.clamp(0, cameras.height - 1), column.clamp(0, cameras.width - 1)]
    return inside & (z < share * at)
