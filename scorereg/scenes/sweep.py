"""Depth by a small plane sweep between photos.

For a reference view and planes of constant inverse depth, the other views are warped through each plane and compared
by normalised cross-correlation over small windows. A pixel counts if its best plane correlates well, stands out, and
agrees with the depth map of another view.
"""

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from scorereg._progress import steps
from scorereg.cameras import Cameras

__all__ = ["matched", "shrunk"]

WIDTH = 96  # pixels to which photos are reduced
WINDOW = 7  # pixels
CORRELATION = 0.8
AGREEMENT = 0.1  # share of the inverse depth, and at least 1.5 planes, by which two views may differ
MOST_VIEWS = 3  # reference views
NEIGHBORS = 2  # views that each reference view is matched with


def shrunk(
    images: Float[Tensor, "n h w 3"], masks: Bool[Tensor, "n h w"] | None, cameras: Cameras, *, width: int = WIDTH
) -> tuple[Float[Tensor, "n c i j"], Cameras]:
    """Small grey photos, and their cameras; a second channel is the share of each pixel that masks let count."""
    planes = [images.mean(-1)] if masks is None else [images.mean(-1), masks.float()]
    factor = max(cameras.width, cameras.height, width) / width
    width, height = round(cameras.width / factor), round(cameras.height / factor)
    small = [functional.interpolate(rearrange(x, "n h w -> n 1 h w"), (height, width), mode="area") for x in planes]
    ratio = torch.tensor([width / cameras.width, height / cameras.height])
    return torch.cat(small, 1), Cameras(cameras.pose, cameras.focal * ratio, cameras.center * ratio, width, height)


def matched(
    photos: Float[Tensor, "n c h w"],
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
    order = steps("near and far by a plane sweep, views", sorted(needed))
    found = {i: _sweep(photos, cameras, i, near[i], planes, apart) for i in order}
    kept = []
    for i in chosen:
        index, good = found[i]
        support = torch.zeros_like(good)
        for j in near[i]:
            support |= _confirmed(index, planes, cameras, i, j, found[j])
        kept.append(planes[index[good & support]])
    return torch.cat(kept)


def _sweep(
    photos: Float[Tensor, "n c h w"],
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
        source = photos[other].expand(len(planes), -1, -1, -1)
        warped = functional.grid_sample(source, 2 * pixel / size - 1, padding_mode="border", align_corners=False)
        score = _correlation(warped[:, 0], photos[reference, 0])
        for counts in (warped[:, 1:], photos[None, reference, 1:]):  # nothing where there are no masks
            inside = inside & (counts > 0.999).all(1)
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
