r"""Range of depths of a scene, from sparse points or from the training photos alone.

The photos are matched by a small plane sweep. For a reference view and planes of constant inverse depth, the other
views are warped through each plane and compared by normalised cross-correlation over small windows. A pixel counts
if its best plane correlates well, stands out, and agrees with the depth map of another view. True depth maps are not
used; they are for evaluation.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from scorereg.cameras import Cameras

__all__ = ["Extent", "extent_of_points", "extent_of_views"]

WIDTH = 96  # pixels to which photos are reduced
COARSE, FINE = 128, 64  # planes of the two sweeps
WINDOW = 7  # pixels
CLOSEST = 0.35  # nearest plane, in median distances between neighbouring cameras
CORRELATION = 0.8
AGREEMENT = 0.1  # share of the inverse depth, and at least 1.5 planes, by which two views may differ
MARGINS = 0.4, 0.3  # of near and far, as shares of them
LEAST_SUPPORT = 30  # pixels, or points
MOST_POINTS = 20_000
MOST_VIEWS = 3  # reference views
NEIGHBORS = 2  # views that each reference view is matched with


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


def extent_of_views(images: Float[Tensor, "n h w 3"], cameras: Cameras, *, path: Path) -> Extent:
    """Extent by a plane sweep between the given photos, coarse and then fine.

    Near and far are the 1st and 98th percentile of the matched depths, with margins for surfaces without texture and
    those that only one photo sees, which are not matched.

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
    gray, cameras = _shrink(images, cameras)
    step = 1 / (CLOSEST * baseline * (COARSE - 1))
    inverse = _matched(gray, cameras, step * torch.arange(COARSE), distance, 4 * step)
    if len(inverse) >= LEAST_SUPPORT:
        low, high = torch.quantile(inverse, torch.tensor([0.02, 0.99])).tolist()
        planes = torch.linspace(max(low / 2 - step, 0), high + 2 * step, FINE)
        inverse = _matched(gray, cameras, planes, distance, 4 * step)
    if len(inverse) < LEAST_SUPPORT:
        raise ValueError(
            f"{path}: only {len(inverse)} pixels match between the training photos, too few to tell near and far; "
            f"check the poses, or {remedy}."
        )
    low, middle, high = torch.quantile(inverse, torch.tensor([0.02, 0.5, 0.99])).tolist()
    return Extent((1 - MARGINS[0]) / high, (1 + MARGINS[1]) / low, 1 / middle)


def _shrink(images: Float[Tensor, "n h w 3"], cameras: Cameras) -> tuple[Float[Tensor, "n 1 i j"], Cameras]:
    gray = rearrange(images.mean(-1), "n h w -> n 1 h w")
    factor = max(cameras.width, cameras.height, WIDTH) / WIDTH
    width, height = round(cameras.width / factor), round(cameras.height / factor)
    gray = functional.interpolate(gray, (height, width), mode="area")
    ratio = torch.tensor([width / cameras.width, height / cameras.height])
    return gray, Cameras(cameras.pose, cameras.focal * ratio, cameras.center * ratio, width, height)


def _matched(
    gray: Float[Tensor, "n 1 h w"],
    cameras: Cameras,
    planes: Float[Tensor, " d"],
    distance: Float[Tensor, "n n"],
    apart: float,
) -> Float[Tensor, " m"]:
    """Inverse depths of the pixels of some reference views that correlate well and agree with another view."""
    count = min(len(cameras), MOST_VIEWS)
    chosen = sorted({round(i * (len(cameras) - 1) / (count - 1)) for i in range(count)})
    near = {
        i: [int(j) for j in distance[i].argsort()[:NEIGHBORS] if distance[i, j].isfinite()] for i in range(len(cameras))
    }
    needed = {*chosen, *(j for i in chosen for j in near[i])}
    found = {i: _sweep(gray, cameras, i, near[i], planes, apart) for i in sorted(needed)}
    kept = []
    for i in chosen:
        index, good = found[i]
        support = torch.zeros_like(good)
        for j in near[i]:
            support |= _confirmed(index, planes, cameras, i, j, found[j])
        kept.append(planes[index[good & support]])
    return torch.cat(kept)


def _sweep(
    gray: Float[Tensor, "n 1 h w"],
    cameras: Cameras,
    reference: int,
    others: list[int],
    planes: Float[Tensor, " d"],
    apart: float,
) -> tuple[Int[Tensor, "h w"], Tensor]:
    """Best plane of each pixel of the reference view, and whether it correlates well and stands out."""
    rays = cameras.image_rays(reference)
    best = torch.full((len(planes), *rays.shape), -1.0)
    for other in others:
        # a point at inverse depth q is (o + d / q); scaled by q it is q o + d, which is finite at q = 0
        pose = cameras.pose[other]
        start = (rays.origins - pose[:, 3]) @ pose[:, :3]
        local = planes[:, None, None, None] * start + rays.directions @ pose[:, :3]
        pixel = cameras.center[other] + cameras.focal[other] * local[..., :2] / local[..., 2:].clamp_min(1e-6)
        size = torch.tensor([cameras.width, cameras.height])
        inside = ((pixel >= 0) & (pixel <= size)).all(-1) & (local[..., 2] > 0)
        source = gray[other].expand(len(planes), -1, -1, -1)
        warped = functional.grid_sample(source, 2 * pixel / size - 1, padding_mode="border", align_corners=False)
        score = _correlation(warped[:, 0], gray[reference, 0])
        whole = _mean(inside.float()) > 0.999
        best = torch.maximum(best, torch.where(whole, score, -torch.ones_like(score)))
    score, index = best.max(0)
    around = (planes[:, None, None] - planes[index]).abs() <= apart
    runner_up = torch.where(around, -torch.ones_like(best), best).amax(0)
    return index, (score > CORRELATION) & (runner_up < score - 0.05) & (index > 0) & (index < len(planes) - 1)


def _correlation(warped: Float[Tensor, "d h w"], reference: Float[Tensor, "h w"]) -> Float[Tensor, "d h w"]:
    """Normalised cross-correlation over windows; it tends to 0 where either is flat."""
    a, b = warped, reference[None]
    mean_a, mean_b = _mean(a), _mean(b)
    covariance = _mean(a * b) - mean_a * mean_b
    variance_a = (_mean(a * a) - mean_a.square()).clamp_min(0)
    variance_b = (_mean(b * b) - mean_b.square()).clamp_min(0)
    noise = 0.01**2  # a contrast of one part in a hundred is no texture
    return covariance / ((variance_a + noise) * (variance_b + noise)).sqrt()


def _mean(x: Float[Tensor, "d h w"]) -> Float[Tensor, "d h w"]:
    return functional.avg_pool2d(x[:, None], WINDOW, stride=1, padding=WINDOW // 2)[:, 0]


def _confirmed(
    index: Int[Tensor, "h w"],
    planes: Float[Tensor, " d"],
    cameras: Cameras,
    i: int,
    j: int,
    other: tuple[Int[Tensor, "h w"], Tensor],
) -> Tensor:
    """Whether view j has a match at the same depth where view i's match projects to."""
    rays = cameras.image_rays(i)
    depth = 1 / planes[index]
    pixel, z = cameras[j].project(rays.points(depth[..., None])[..., 0, :])
    pixel, z = pixel[0].floor().long(), z[0]
    size = torch.tensor([cameras.width, cameras.height])
    inside = ((pixel >= 0) & (pixel < size)).all(-1) & (z > 0)
    x, y = torch.minimum(pixel.clamp_min(0), size - 1).unbind(-1)
    off = (planes[other[0][y, x]] - 1 / z).abs()
    return inside & other[1][y, x] & (off <= torch.maximum(AGREEMENT / z, 1.5 * (planes[1] - planes[0])))
