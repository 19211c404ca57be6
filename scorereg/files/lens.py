"""Lenses: their numbers for a photo's own pixels, and photos as a pinhole of the same focal length would show them."""

import math
from dataclasses import replace

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from scorereg.files.view import Lens

__all__ = ["folding_share", "is_bent", "lens_of_size", "undistort"]

_BLOCK = 2**20  # pixels whose positions are computed at once
_STEPS = 4096  # radii at which a lens is tested for folding


def lens_of_size(lens: Lens, width: int, height: int) -> Lens:
    """The lens in pixels of an image of another resolution, its center given; distortion has no unit."""
    across, down = (1.0, 1.0) if lens.size is None else (width / lens.size[0], height / lens.size[1])
    center = (width / 2, height / 2) if lens.center is None else (lens.center[0] * across, lens.center[1] * down)
    return replace(
        lens, focal=(lens.focal[0] * across, lens.focal[1] * down), center=center, size=(float(width), float(height))
    )


def is_bent(lens: Lens) -> bool:
    """Whether the lens differs from a pinhole; a fisheye does without any term of distortion."""
    return lens.model == "fisheye" or (lens.model == "brown" and any(lens.distortion))


def undistort(
    image: Float[Tensor, "h w c"], lens: Lens, *, mode: str = "bilinear"
) -> tuple[Float[Tensor, "h w c"], Bool[Tensor, "h w"]]:
    r"""Return what a pinhole with the focal lengths and center of a lens would show in place of its image.

    A pixel at (x, y) on the plane z = 1 is fetched from where the lens shows it. With $r^2 = x^2 + y^2$ Brown's model,
    in OpenCV's order of the terms, moves x to

        x (1 + k1 r^2 + k2 r^4 + k3 r^6 + k r^8) / (1 + k4 r^2 + k5 r^4 + k6 r^6) + 2 p1 x y + p2 (r^2 + 2 x^2)

    and y alike with p1 and p2 exchanged; OpenCV's fisheye, with $\theta = \arctan r$, moves both by the factor

        (theta + k1 theta^3 + k2 theta^5 + k3 theta^7 + k4 theta^9) / r

    As the focal length stays, what a wide fisheye shows beyond the pinhole's image is cropped.

    Args:
        image: Distorted image.
        lens: Its lens, in pixels of the image.
        mode: `"bilinear"` for photos, `"nearest"` for depth and masks.

    Returns:
        The image, and which of its pixels the distorted one covers. The others have the nearest border's value, or 0
        for `mode="nearest"`. Beyond the radius at which a lens folds its image back nothing is covered.
    """
    height, width = image.shape[:2]
    lens = lens_of_size(lens, width, height)
    focal, center = (torch.tensor(x, dtype=torch.float64) for x in (lens.focal, lens.center))
    size = torch.tensor([width, height], dtype=torch.float64)
    source = rearrange(image, "h w c -> 1 c h w")
    padding = "border" if mode == "bilinear" else "zeros"
    limit = _fold(lens, _reach(lens, width, height))
    rows, parts, covered = max(_BLOCK // width, 1), [], []
    for top in range(0, height, rows):
        v, u = torch.meshgrid(torch.arange(top, min(top + rows, height)), torch.arange(width), indexing="ij")
        x, y = ((torch.stack([u, v], -1).double() + 0.5 - center) / focal).unbind(-1)
        place = _bent(lens, x, y) * focal + center
        grid = (2 * place / size - 1).clamp(-4, 4).to(image.dtype)
        moved = functional.grid_sample(source, grid[None], mode=mode, padding_mode=padding, align_corners=False)
        parts.append(rearrange(moved, "1 c h w -> h w c"))
        covered.append(((place >= 0) & (place <= size)).all(-1) & (torch.hypot(x, y) < limit))
    return torch.cat(parts), torch.cat(covered)


def _bent(lens: Lens, x: Float[Tensor, "h w"], y: Float[Tensor, "h w"]) -> Float[Tensor, "h w 2"]:
    """Where the lens shows points of the plane z = 1, on the plane z = 1."""
    r2 = x * x + y * y
    scale = _radial(lens, r2.sqrt())
    if lens.model == "fisheye":
        return torch.stack([x * scale, y * scale], -1)
    p1, p2 = lens.distortion[2:4]
    return torch.stack(
        [x * scale + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * scale + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y], -1
    )


def _radial(lens: Lens, r: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Factor by which the lens moves points at radius r on the plane z = 1; NaN beyond a pole."""
    if lens.model == "fisheye":
        k1, k2, k3, k4 = (*lens.distortion, 0.0, 0.0, 0.0, 0.0)[:4]
        theta = r.atan()
        t2 = theta * theta
        return (theta / r.clamp_min(1e-12)).where(r > 1e-9, torch.ones_like(r)) * (
            1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4)))
        )
    k1, k2, _, _, k3, k4, k5, k6, k = (*lens.distortion, 0.0, 0.0, 0.0, 0.0)[:9]
    r2 = r * r
    below = 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
    return (1 + r2 * (k1 + r2 * (k2 + r2 * (k3 + r2 * k)))) / below.where(below > 0, torch.full_like(below, math.nan))


def folding_share(lens: Lens, width: float | int, height: float | int) -> float:
    """Return the radius from which on a lens folds its image back, as a share of the corners'; infinity if none."""
    middle = lens.center or (width / 2, height / 2)
    reach = _reach(replace(lens, center=middle), width, height)
    return _fold(lens, reach) / reach


def _reach(lens: Lens, width: float | int, height: float | int) -> float:
    """Largest radius on the plane z = 1 that the image shows."""
    assert lens.center is not None, "lens_of_size gives it"
    x = max(lens.center[0], width - lens.center[0]) / lens.focal[0]
    y = max(lens.center[1], height - lens.center[1]) / lens.focal[1]
    return math.hypot(x, y)


def _fold(lens: Lens, reach: float) -> float:
    """The radius from which on the lens folds its image back, infinity if none within reach is."""
    r = torch.linspace(0, reach, _STEPS + 1).double()
    shown = r * _radial(lens, r)
    rising = shown.diff() > 0  # NaN rises nowhere
    return math.inf if rising.all() else float(r[int(rising.int().argmin())])
