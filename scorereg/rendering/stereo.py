r"""Photo consistency: a stereo term that compares each sample of a photo's ray with the other photos.

A radiance field can explain few photos by a wrong shape before each camera. A surface point looks alike in all photos
that see it, a point in front of it does not, so the matching cost of plane-sweep stereo tells the two apart.

    descriptor   the 3 x 3 colors around a pixel, some pixels apart, without their mean and of unit length: 27 numbers,
                 independent of brightness, near 0 where there is no texture; it counts if all pixels that it is made of
                 do, those of the blur as well
    cost         1 - <descriptor of the ray's pixel, descriptor where the sample projects to>, in [0, 2]
"""

import torch
from einops import einsum, rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from scorereg.cameras import Cameras

__all__ = ["descriptors_count", "patch_descriptors", "photo_consistency", "texture_strength"]

BLUR = 2.0  # pixels, standard deviation: widens the range from which a match is found
SPACING = 3  # pixels between the nine colors
TEXTURE = 0.14  # root sum of squared contrasts at which a descriptor has 0.7 of unit length
UNSEEN = 1.0  # cost of a point that no other camera sees: that of unrelated descriptors


def patch_descriptors(
    images: Float[Tensor, "n h w 3"], masks: Bool[Tensor, "n h w"] | None = None
) -> Float[Tensor, "n h w 27"]:
    """Describe the neighborhood of every pixel for comparison by inner products. Without a graph.

    Args:
        images: Colors in [0, 1].
        masks: Pixels that count; descriptors that do not (`descriptors_count`) say nothing. All, if not given.
    """
    with torch.no_grad():
        images = images if masks is None else torch.where(masks[..., None], images, 0.0)
        x = _blur(rearrange(images, "n h w c -> n c h w"))
        _, _, height, width = x.shape
        around = functional.unfold(functional.pad(x, (SPACING,) * 4, mode="replicate"), 3, dilation=SPACING)
        around = rearrange(around, "n (c k) (h w) -> n h w c k", c=3, h=height, w=width)
        contrast = (around - around.mean(-1, keepdim=True)).flatten(3)
        unit = contrast / (contrast.square().sum(-1, keepdim=True) + TEXTURE**2).sqrt()
        return unit.contiguous()  # otherwise every look-up would copy it


def descriptors_count(masks: Bool[Tensor, "n h w"]) -> Bool[Tensor, "n h w"]:
    """Tell which descriptors are made of pixels that count: those of a square around them of 15 pixels a side.

    Args:
        masks: Pixels that count. What lies beyond the border leaves nothing out.
    """
    reach = SPACING + int(2 * BLUR)
    left_out = rearrange(~masks, "n h w -> n 1 h w").float()
    return functional.max_pool2d(left_out, 2 * reach + 1, stride=1, padding=reach)[:, 0] == 0


def texture_strength(maps: Float[Tensor, "n h w 27"], counts: Bool[Tensor, "n h w"] | None = None) -> float:
    """Mean squared length of `patch_descriptors`, in [0, 1]: 0 for photos without any texture to match.

    Without texture `photo_consistency` is noise, with as large a gradient as on leaves. A weight that is multiplied by
    this number follows how much the photos tell.

    Args:
        maps: Descriptors.
        counts: Those over which the mean is; all, if not given. Of none it is 0.
    """
    squared = maps.square().sum(-1)
    if counts is None:
        return squared.mean().item()
    return squared[counts].mean().item() if counts.any() else 0.0


def photo_consistency(
    weights: Float[Tensor, "r s"],
    points: Float[Tensor, "r s 3"],
    index: Int[Tensor, " r"],
    pixel: Float[Tensor, "r 2"],
    maps: Float[Tensor, "n h w 27"],
    cameras: Cameras,
    counts: Bool[Tensor, "n h w"] | None = None,
) -> Float[Tensor, " r"]:
    r"""Mean cost of matching along rays of the photos, weighted as they are rendered.

    $$ \sum_i w_i \min_{j \ne k} \left(1 - \langle f_k(p), f_j(\pi_j(x_i)) \rangle\right) $$

    for a ray through pixel p of photo k. The best of the other photos counts, as the point may be hidden in the rest
    (as in plane-sweep stereo, Collins 1996; the minimum as in Godard 2019, eq. 4). Differentiable to the weights alone.

    Args:
        weights: Weights of the intervals, as rendered.
        points: Middles of the intervals, in world coordinates.
        index: Camera of each ray.
        pixel: Position (x, y) of each ray in its photo.
        maps: `patch_descriptors` of the cameras' photos.
        cameras: Cameras of the photos. With fewer than two the cost is 0.
        counts: Descriptors that count (`descriptors_count`); all, if not given. The cost of a ray whose own does not is
            0, and a place whose descriptor does not is as one outside of the photo.
    """
    others = len(cameras) - 1
    if others < 1:
        return 0 * weights.sum(-1)
    with torch.no_grad():
        own = _at(maps, index, pixel)
        other = (index[:, None] + torch.arange(1, others + 1, device=index.device)) % len(cameras)
        repeated = repeat(points, "r s c -> s r j c", j=others)
        other = other.expand(repeated.shape[:-1])
        landed, depth = cameras.project(repeated, other)  # [s, r, others, 2]
        inside = ((landed >= 0) & (landed < cameras.image_size)).all(-1) & (depth > 0)
        if counts is not None:
            inside = inside & _at(counts, other, landed)
        match = einsum(own, _at(maps, other, landed), "r c, s r j c -> s r j")
        cost = torch.where(inside, 1 - match, torch.inf).amin(-1)
        cost = torch.where(inside.any(-1), cost, UNSEEN)
        if counts is not None:
            cost = torch.where(_at(counts, index, pixel), cost, 0.0)
    return (weights * rearrange(cost, "s r -> r s")).sum(-1)


def _at(maps: Tensor, index: Tensor, pixel: Tensor) -> Tensor:
    """Entries of maps (n, h, w, ...) at the nearest pixels: one row each, where interpolation would read four."""
    height, width = maps.shape[1:3]
    x = pixel[..., 0].clamp(0, width - 1).long()
    y = pixel[..., 1].clamp(0, height - 1).long()
    return maps.flatten(0, 2)[(index * height + y) * width + x]


def _blur(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    reach = int(2 * BLUR)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=x.device) / BLUR).square())
    kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, -1)
    x = functional.pad(x, (reach,) * 4, mode="replicate")
    x = functional.conv2d(x, kernel[:, :, :, None], groups=x.shape[1])
    return functional.conv2d(x, kernel[:, :, None, :], groups=x.shape[1])
