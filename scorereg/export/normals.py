r"""Normals of a depth map, by planes fitted to it around each pixel.

In pixel coordinates over the focal length, (x, y), a plane has the disparity $1 / z = a x + b y + c$ exactly, and its
normal is along (a, b, c). So a least-squares fit of disparity in a window is one of planes in space.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from scorereg.cameras import Cameras

__all__ = ["depth_normals"]

_RADIUS = 2  # pixels: a window of 5 x 5
_ALIKE = 0.05  # relative difference of depth beyond which a pixel is of another surface


def depth_normals(depth: Float[Tensor, "h w"], camera: Cameras) -> Float[Tensor, "h w 3"]:
    r"""Return unit normals in world coordinates that point to the side of the camera; 0 where none is known.

    A pixel of the window counts with $\exp(-(\log z / z_0)^2 / 2 s^2)$, s = 0.05, so that a surface behind an edge
    counts little.

    Args:
        depth: Planar depth in metres, 0 where unknown.
        camera: The one camera of the depth map.
    """
    height, width = depth.shape
    focal, center = camera.focal[0].double(), camera.center[0].double()
    known = depth > 0
    disparity = torch.where(known, 1 / depth.clamp_min(1e-6), 0.0).double()
    sums = torch.zeros(9, height, width, dtype=torch.float64, device=depth.device)
    for dy in range(-_RADIUS, _RADIUS + 1):
        for dx in range(-_RADIUS, _RADIUS + 1):
            other = _shifted(disparity, dy, dx)
            both = known & (other > 0)
            ratio = torch.where(both, disparity / other.clamp_min(1e-9), 1.0)
            w = torch.where(both, torch.exp(-(ratio.log() ** 2) / (2 * _ALIKE**2)), 0.0)
            x, y = dx / focal[0], dy / focal[1]
            sums += torch.stack([w, w * x, w * y, w * x * x, w * x * y, w * y * y, w * other, w * other * x,
                                 w * other * y])  # fmt: skip
    slope_x, slope_y, level = _plane(sums)
    row, column = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    x, y = ((column.to(depth.device) - center[0]) / focal[0], (row.to(depth.device) - center[1]) / focal[1])
    normal = -torch.stack([slope_x, slope_y, level - slope_x * x - slope_y * y], -1)
    normal = torch.nn.functional.normalize(normal, dim=-1) @ camera.pose[0, :, :3].double().T
    whole = known & normal.isfinite().all(-1) & (normal.norm(dim=-1) > 0.5)
    return torch.where(whole[..., None], normal, 0.0).float()


def _plane(s: Float[Tensor, "9 h w"]) -> tuple[Tensor, Tensor, Tensor]:
    """Slopes and value at the pixel of the weighted least-squares plane; NaN where the pixels are on a line."""
    w, x, y, xx, xy, yy, d, dx, dy = s
    total = w.clamp_min(1e-12)
    x, y, d = x / total, y / total, d / total
    xx, xy, yy = xx / total - x * x, xy / total - x * y, yy / total - y * y
    dx, dy = dx / total - d * x, dy / total - d * y
    determinant = xx * yy - xy * xy
    determinant = torch.where(determinant > 1e-4 * (xx + yy).square(), determinant, torch.nan)
    a, b = (yy * dx - xy * dy) / determinant, (xx * dy - xy * dx) / determinant
    return a, b, d - a * x - b * y


def _shifted(image: Float[Tensor, "h w"], dy: int, dx: int) -> Float[Tensor, "h w"]:
    """The image whose pixel (i, j) is the given one's (i + dy, j + dx); 0 beyond the border."""
    r, (height, width) = _RADIUS, image.shape
    padded = torch.nn.functional.pad(image, (r, r, r, r))
    return padded[r + dy : r + dy + height, r + dx : r + dx + width]
