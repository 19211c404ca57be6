"""Fusion of posed depth maps to a grid of free, occupied and unknown voxels.

depth   planar z in metres, 0 unknown
pose    world from camera, OpenCV axes
gap     distance along z from the centre of a voxel to the surface behind it, metres
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from scorereg import files
from scorereg.data.blocks.voxels import Grid
from scorereg.files.depth import read_depth
from scorereg.files.layouts.transforms import read_transforms
from scorereg.files.lens import is_bent, lens_of_size, undistort

__all__ = ["View", "fuse_depth", "read_views"]


@dataclass(frozen=True)
class View:
    """A depth map and its camera.

    Args:
        depth: Planar depth in metres, 0 where unknown.
        focal: fx, fy in pixels.
        center: cx, cy in pixels.
        pose: World from camera, OpenCV axes.
    """

    depth: Float[np.ndarray, "h w"]
    focal: tuple[float, float]
    center: tuple[float, float]
    pose: Float[np.ndarray, "3 4"]


def read_views(folder: Path) -> list[View]:
    """Read the depth maps and cameras of a folder with `transforms.json`, without the distortion of a bent lens.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If the file names no depth, or a depth map has no focal length.
    """
    listing = read_transforms(folder)
    views = [_view(view) for view in listing.views if view.depth is not None and view.pose is not None]
    if not views:
        raise ValueError(
            f"{listing.source} names no depth (`depth_file_path`) with a pose (`transform_matrix`): there is nothing "
            "to fuse. Leave it out."
        )
    return views


def _view(view: files.View) -> View:
    assert view.depth is not None, "asked of views with depth only"
    if view.lens is None:
        raise ValueError(f"{view.depth} has no focal length; write `fl_x`, for its frame or for all.")
    depth = np.nan_to_num(read_depth(view.depth, view.unit))
    lens = lens_of_size(view.lens, depth.shape[1], depth.shape[0])
    if is_bent(lens):
        depth = undistort(torch.from_numpy(depth)[..., None], lens, mode="nearest")[0][..., 0].numpy()
    assert lens.center is not None, "lens_of_size gives it"
    return View(depth, lens.focal, lens.center, view.matrix)


def fuse_depth(name: str, views: list[View], voxel: float) -> Grid:
    """Fuse depth maps on a grid around all visible surfaces.

    A voxel is free where the mean gap over the views that it is not hidden from is above half a voxel, and solid where
    it is not. Where it is hidden from all views or outside them it is unknown, and marked solid too. This is space
    carving with the truncated distance of Curless and Levoy, 1996.

    Args:
        name: Name of the scene.
        views: At least one view.
        voxel: Edge of a voxel, in metres; also the distance at which gaps are truncated.
    """
    points = np.concatenate([_points(view) for view in views])
    low, high = np.percentile(points, [0.5, 99.5], axis=0)
    origin, shape = low - 2 * voxel, np.ceil((high - low) / voxel + 4).astype(int)
    total = np.zeros(shape, np.float32)
    seen = np.zeros(shape, np.uint16)
    for x in range(shape[0]):  # a slab at a time
        middle = np.stack(np.meshgrid([x], *(np.arange(n) for n in shape[1:]), indexing="ij"), -1)[0]
        world = origin + (middle + 0.5) * voxel
        for view in views:
            gap = _gap(view, world)
            visible = gap > -voxel
            total[x] += np.where(visible, np.clip(gap / voxel, -1, 1), 0)
            seen[x] += visible
    known = seen > 0
    free = known & (total > 0.5 * seen)
    return Grid(name, np.where(free, 0, 255).astype(np.uint8), voxel, 255, known)


def _gap(view: View, world: np.ndarray) -> np.ndarray:
    """Return the gaps of points [y, z, 3]; minus infinity where a point is outside the view or its depth unknown."""
    camera = (world - view.pose[:, 3]) @ view.pose[:, :3]
    z = np.maximum(camera[..., 2], 1e-6)
    column = np.floor(view.focal[0] * camera[..., 0] / z + view.center[0])
    row = np.floor(view.focal[1] * camera[..., 1] / z + view.center[1])
    height, width = view.depth.shape
    inside = (camera[..., 2] > 0.01) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    depth = view.depth[np.where(inside, row, 0).astype(int), np.where(inside, column, 0).astype(int)]
    return np.where(inside & (depth > 0), depth - camera[..., 2], -np.inf)


def _points(view: View) -> np.ndarray:
    """Return world coordinates of every seventh pixel with known depth."""
    row, column = (index[::7] for index in (view.depth > 0).nonzero())
    z = view.depth[row, column]
    x = (column + 0.5 - view.center[0]) / view.focal[0] * z
    y = (row + 0.5 - view.center[1]) / view.focal[1] * z
    return np.stack([x, y, z], -1) @ view.pose[:, :3].T + view.pose[:, 3]
