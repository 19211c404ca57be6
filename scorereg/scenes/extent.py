"""Range of depths of a scene, from sparse points or from the training photos alone; never from true depth."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from scorereg.cameras import Cameras
from scorereg.scenes.sweep import matched, shrunk

__all__ = ["Extent", "extent_of_points", "extent_of_views"]

COARSE, FINE = 128, 64  # planes of the two sweeps
CLOSEST = 0.35  # nearest plane, in median distances between neighbouring cameras
MARGINS = 0.4, 0.3  # of near and far, as shares of them
LEAST_SUPPORT = 30  # pixels, or points
MOST_POINTS = 20_000


@dataclass(frozen=True)
class Extent:
    """Range of planar depths, in the unit of the poses.

    Args:
        near: Depth in front of which nothing is expected, with a margin.
        far: Depth behind which nothing is expected, with a margin.
        typical: Median depth.
    """

    near: float
    far: float
    typical: float


def extent_of_points(points: Float[Tensor, "p 3"], cameras: Cameras, *, path: Path) -> Extent:
    """Extent of the sparse points that the cameras see: 1st and 99th percentile of depth, with margins of 10 %.

    Raises:
        ValueError: If fewer than `LEAST_SUPPORT` points are in view.
    """
    points = points[points.isfinite().all(-1)]
    points = points[:: 1 + len(points) // MOST_POINTS]
    _, depth = cameras.project(points)
    seen = depth[cameras.visible(points)]
    if len(seen) < LEAST_SUPPORT:
        raise ValueError(
            f"{path}: only {len(seen)} of its sparse points are seen by the training views, too few to tell near and "
            "far; write `near` and `far` into transforms.json, or drop `ply_file_path`."
        )
    near, typical, far = torch.quantile(seen, torch.tensor([0.01, 0.5, 0.99])).tolist()
    return Extent(0.9 * near, 1.1 * far, typical)


def extent_of_views(
    images: Float[Tensor, "n h w 3"], cameras: Cameras, masks: Bool[Tensor, "n h w"] | None = None, *, path: Path
) -> Extent:
    """Extent by a plane sweep between the given photos, coarse and then fine.

    Near and far are the 1st and 98th percentile of the matched depths, with margins for surfaces without texture and
    those that only one photo sees, which are not matched. Windows with a masked pixel are not matched either.

    Raises:
        ValueError: If there is only one view, all cameras are at one place, or too few pixels match.
    """
    remedy = "write `near` and `far` (in the unit of the poses) into transforms.json"
    if len(cameras) < 2:
        raise ValueError(f"{path}: one training view alone does not tell near and far; use more views, or {remedy}.")
    distance = torch.cdist(cameras.origins, cameras.origins, compute_mode="donot_use_mm_for_euclid_dist")
    distance = torch.where(distance > 0, distance, torch.inf)  # a view is no neighbor of itself or of one at its place
    nearest = distance.amin(1)
    if not nearest.isfinite().any():
        raise ValueError(f"{path}: the training cameras share one centre, which does not tell depth; {remedy}.")
    baseline = nearest[nearest.isfinite()].median().item()
    photos, cameras = shrunk(images, masks, cameras)
    step = 1 / (CLOSEST * baseline * (COARSE - 1))
    inverse = matched(photos, cameras, step * torch.arange(COARSE), distance, 4 * step)
    if len(inverse) >= LEAST_SUPPORT:
        low, high = torch.quantile(inverse, torch.tensor([0.02, 0.99])).tolist()
        planes = torch.linspace(max(low / 2 - step, 0), high + 2 * step, FINE)
        inverse = matched(photos, cameras, planes, distance, 4 * step)
    if len(inverse) < LEAST_SUPPORT:
        raise ValueError(
            f"{path}: only {len(inverse)} pixels match between the training photos, too few to tell near and far; "
            f"check the poses, or {remedy}."
        )
    low, middle, high = torch.quantile(inverse, torch.tensor([0.02, 0.5, 0.99])).tolist()
    return Extent((1 - MARGINS[0]) / high, (1 + MARGINS[1]) / low, 1 / middle)
