r"""The hand-made terms that a few-view fit needs beside a learned prior, and that a learned prior has to beat.

Each takes what `render` returns and gives a scalar, the mean over the rays; a caller weighs and adds them.
"""

from jaxtyping import Float
from torch import Tensor

from scorereg.cameras import Cameras
from scorereg.rendering import Render

__all__ = ["distortion", "frustum", "opacity"]


def distortion(weights: Float[Tensor, "*rays n"], edges: Float[Tensor, "*rays n+1"]) -> Float[Tensor, "*rays"]:
    r"""How far a ray's weights lie apart (mip-NeRF 360, Barron 2022, eq. 15), in time linear in the samples.

    $$ \sum_{i,j} w_i w_j |m_i - m_j| + \frac13 \sum_i w_i^2 \delta_i $$

    with m the middles and delta the lengths of the intervals. As the middles rise, the double sum is
    $2 \sum_i w_i (m_i \sum_{j<i} w_j - \sum_{j<i} w_j m_j)$, two running sums. Differentiable to both.

    Args:
        weights: Of the intervals, >= 0.
        edges: Of the intervals, rising, on whatever scale distances are to be measured.
    """
    middle = (edges[..., 1:] + edges[..., :-1]) / 2
    moment = weights * middle
    before, moment_before = weights.cumsum(-1) - weights, moment.cumsum(-1) - moment
    apart = 2 * (weights * (middle * before - moment_before)).sum(-1)
    return apart + (weights.square() * (edges[..., 1:] - edges[..., :-1])).sum(-1) / 3


def frustum(render: Render, cameras: Cameras, *, views: int = 2) -> Float[Tensor, " r"]:
    """Weight that lies where fewer than `views` cameras look: the sum over samples of `w max(0, views - count)`.

    Half-space in front of a camera that no other camera sees is where floaters grow (DiffusioNeRF, section 3.4).
    Differentiable to the weights.

    Args:
        render: Of rays through the scene.
        cameras: The training cameras.
        views: How many of them a point should be seen by; at most as many as there are.
    """
    count = cameras.visible(render.points.detach()).sum(0)
    return (render.weights * (min(views, len(cameras)) - count).clamp_min(0)).sum(-1)


def opacity(opacity: Float[Tensor, "*rays"]) -> Float[Tensor, "*rays"]:
    """Squared shortfall from a ray that ends on something, `(1 - opacity)^2`. Differentiable."""
    return (1 - opacity).square()
