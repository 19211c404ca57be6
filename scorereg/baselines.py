r"""Hand-made regularisers of few-view fits, used beside a learned prior and as baselines for it.

`distortion`, `frustum` and `opacity` take what `render` returns and give one value a ray. `total_variation` takes a
voxel grid and gives a scalar.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from scorereg.cameras import Cameras
from scorereg.ops import distortion, frustum_penalty
from scorereg.rendering.volume import Render

__all__ = ["distortion", "frustum", "opacity", "total_variation"]


def frustum(render: Render, cameras: Cameras, *, views: int = 2) -> Float[Tensor, " r"]:
    """Weight where fewer than `views` cameras see: the sum over samples of `w max(0, views - count)`.

    Floaters grow in space that only one camera sees (DiffusioNeRF, section 3.4). Differentiable to the weights.

    Args:
        render: Render of rays through the scene.
        cameras: The training cameras.
        views: Number of cameras that should see a point; the number of cameras if there are fewer.
    """
    return frustum_penalty(render.weights, render.points, cameras, views=min(views, len(cameras)))


def opacity(opacity: Float[Tensor, "*rays"]) -> Float[Tensor, "*rays"]:
    """Squared transmittance `(1 - opacity)^2`, which is 0 for a ray that ends on a surface. Differentiable."""
    return (1 - opacity).square()


def total_variation(grid: Float[Tensor, "x y z c"], *, floor: float = 1e-4) -> Float[Tensor, ""]:
    r"""Mean over the vertices of a voxel grid of $\sqrt{\sum_d (g_{v + e_d} - g_v)^2 + floor}$ (Plenoxels, eq. 4).

    The sum is over the three axes, for each channel by itself; vertices without a next one are left out, so a grid that
    is cut into pieces should overlap by one. Differentiable.

    Args:
        grid: Values at vertices, at least two along each axis.
        floor: Constant > 0 that keeps the slope finite where nothing varies.
    """
    here = grid[:-1, :-1, :-1]
    ahead = (grid[1:, :-1, :-1], grid[:-1, 1:, :-1], grid[:-1, :-1, 1:])
    return (torch.stack([(other - here).square() for other in ahead]).sum(0) + floor).sqrt().mean()
