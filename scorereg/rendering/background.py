r"""Photos are of scenes before a background that nobody knows.

A ray that ends nowhere shows what lies behind the scene. If that is taken to be black, then a dark surface is explained
as well by a hole, and a field fitted to a few photos is full of holes that look right from three places. Where nothing
is known of the background b, all colours are alike, and the error is its expectation over them, in closed form:

    E_b |C + (1 - A) b - c|^2 = |C + (1 - A) / 2 - c|^2 + k (1 - A)^2 / 12,       b uniform in [0, 1]^k

with the composited colour C, opacity A and the photo's colour c. Random backgrounds, as for photos with an alpha
channel in Instant NGP (Mueller 2022), estimate the same by noise.
"""

from jaxtyping import Float
from torch import Tensor

__all__ = ["BACKGROUND", "background_variance"]

BACKGROUND = 0.5  # the mean of all colours, which a ray that ends nowhere is shown in
VARIANCE = 1 / 12  # of a number that is uniform in [0, 1]


def background_variance(opacity: Float[Tensor, "*rays"]) -> Float[Tensor, "*rays"]:
    r"""Return what an unknown background adds to the squared error of a colour, `(1 - A)^2 / 12`.

    With the squared error before `BACKGROUND` it is the expectation of the squared error. Differentiable.

    Args:
        opacity: Of the rays, in [0, 1].

    Example:
        >>> import torch
        >>> from scorereg.rendering.background import background_variance
        >>> background_variance(torch.tensor([0.0, 0.5, 1.0])).tolist()
        [0.0833333358168602, 0.02083333395421505, 0.0]
    """
    return VARIANCE * (1 - opacity).square()
