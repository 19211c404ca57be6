"""A point cloud of what a fit shows: the pixels of rendered views, in space."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from scorereg.export.coordinates import to_file
from scorereg.export.frames import Frame
from scorereg.export.ply import write_ply
from scorereg.fit.pictures import as_bytes
from scorereg.scenes import Scene

__all__ = ["PointCloud", "points_of", "sure_depth", "write_points"]

_JUMP = 0.05  # of disparity, from a pixel to both its neighbours: an edge between two surfaces


@dataclass(frozen=True, eq=False)
class PointCloud:
    """Points of a fit, in its coordinates.

    Args:
        points: In metres.
        normals: Unit normals, or 0 where unknown.
        colors: 8 bits.
    """

    points: Float[Tensor, "n 3"]
    normals: Float[Tensor, "n 3"]
    colors: UInt8[Tensor, "n 3"]


def points_of(frames: Iterable[Frame], *, count: int | None = None, seed: int = 0) -> PointCloud:
    """Return the pixels of views in space, without those on edges of depth, where two surfaces are mixed.

    Args:
        frames: The views.
        count: Most points, drawn evenly from all; all of them, if not given.
        seed: Seed of that draw.

    Raises:
        ValueError: If no depth is known in any view.
    """
    parts = []
    for frame in frames:
        sure = sure_depth(frame.depth)
        colors = torch.from_numpy(as_bytes(frame.rgb[sure]))
        parts.append((frame.points()[sure], frame.normals[sure], colors))
    points, normals, colors = (torch.cat(part) for part in zip(*parts, strict=True))
    if not len(points):
        raise ValueError("there are no points: no ray of the views is opaque. Fit longer, or give other --cameras.")
    if count is not None and len(points) > count:
        draw = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))[:count].sort().values
        points, normals, colors = points[draw], normals[draw], colors[draw]
    return PointCloud(points, normals, colors)


def sure_depth(depth: Float[Tensor, "h w"]) -> Bool[Tensor, "h w"]:
    """Whether depth is known and on a surface: its disparity lies on a line with that of the pixels beside it.

    The sum of the second differences along both axes is within a twentieth of the disparity; planes have none.
    """
    disparity = torch.where(depth > 0, 1 / depth.clamp_min(1e-6), 0.0)
    bend = torch.zeros_like(depth)
    bend[:, 1:-1] += (disparity[:, :-2] + disparity[:, 2:] - 2 * disparity[:, 1:-1]).abs()
    bend[1:-1] += (disparity[:-2] + disparity[2:] - 2 * disparity[1:-1]).abs()
    return (depth > 0) & (bend <= _JUMP * disparity)


def write_points(cloud: PointCloud, scene: Scene, path: Path) -> None:
    """Write a point cloud as PLY in the coordinates of the scene's own files.

    Raises:
        OSError: If it cannot be written.
    """
    points = to_file(cloud.points, scene).numpy()
    write_ply(path, points, normals=cloud.normals.numpy(), colors=cloud.colors.numpy())
