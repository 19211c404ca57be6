r"""Photometric error before an unknown background, as an expectation over its color.

Before a black background a hole explains a dark surface as well as the surface does, and a field fitted to a few photos
gets holes that look right from the training views. With an unknown background b, uniform over all colors, the expected
error has a closed form:

    E_b |C + (1 - A) b - c|^2 = |C + (1 - A) / 2 - c|^2 + k (1 - A)^2 / 12,       b uniform in [0, 1]^k

with the composited color C, opacity A and the photo's color c. Random backgrounds, as for photos with an alpha channel
in Instant NGP (Mueller 2022), are a noisy estimate of it.
"""

from jaxtyping import Float
from torch import Tensor

__all__ = ["BACKGROUND", "background_variance"]

BACKGROUND = 0.5  # mean of all colors: the background that renders are composited on
VARIANCE = 1 / 12  # of a number that is uniform in [0, 1]


def background_variance(opacity: Float[Tensor, "*rays"]) -> Float[Tensor, "*rays"]:
    r"""Return the variance `(1 - A)^2 / 12` that an unknown background adds to the squared error of a color.

    Added to the squared error before `BACKGROUND`, it gives the expected squared error. Differentiable.

    Args:
        opacity: Opacity A of each ray, in [0, 1].

    Example:
        >>> import torch
        >>> from scorereg.rendering.background import background_variance
        >>> background_variance(torch.tensor([0.0, 0.5, 1.0])).tolist()
        [0.0833333358168602, 0.02083333395421505, 0.0]
    """
    return VARIANCE * (1 - opacity).square()
