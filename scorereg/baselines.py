r"""The hand-made terms that a few-view fit needs beside a learned prior, and that a learned prior has to beat.

Those on rays take what `render` returns and give one value a ray; a caller takes the means, weighs and adds them.
`total_variation` is of a voxel grid, and a scalar.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from scorereg.cameras import Cameras
from scorereg.ops import distortion, frustum_penalty
from scorereg.rendering.volume import Render

__all__ = ["distortion", "frustum", "opacity", "total_variation"]


def frustum(render: Render, cameras: Cameras, *, views: int = 2) -> Float[Tensor, " r"]:
    """Weight that lies where fewer than `views` cameras look: the sum over samples of `w max(0, views - count)`.

    Half-space in front of a camera that no other camera sees is where floaters grow (DiffusioNeRF, section 3.4).
    Differentiable to the weights.

    Args:
        render: Of rays through the scene.
        cameras: The training cameras.
        views: How many of them a point should be seen by; at most as many as there are.
    """
    return frustum_penalty(render.weights, render.points, cameras, views=min(views, len(cameras)))


def opacity(opacity: Float[Tensor, "*rays"]) -> Float[Tensor, "*rays"]:
    """Squared shortfall from a ray that ends on something, `(1 - opacity)^2`. Differentiable."""
    return (1 - opacity).square()


def total_variation(grid: Float[Tensor, "x y z c"], *, floor: float = 1e-4) -> Float[Tensor, ""]:
    r"""Mean over the vertices of a voxel grid of $\sqrt{\sum_d (g_{v + e_d} - g_v)^2 + floor}$ (Plenoxels, eq. 4).

    The sum is over the three axes, for each channel by itself; vertices without a neighbour ahead are left out, so
    cut a grid into pieces that overlap by one. Differentiable.

    Args:
        grid: At least two vertices along each axis.
        floor: Keeps the slope finite where nothing varies.
    """
    here = grid[:-1, :-1, :-1]
    ahead = (grid[1:, :-1, :-1], grid[:-1, 1:, :-1], grid[:-1, :-1, 1:])
    return (torch.stack([(other - here).square() for other in ahead]).sum(0) + floor).sqrt().mean()
