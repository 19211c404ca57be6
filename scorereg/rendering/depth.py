r"""Rendered depth with a bounded gradient, which moves the visible surface and grows no fog elsewhere on the ray.

The expected depth $\bar t = \sum_i w_i t_i / \sum_i w_i$ has the gradient $(t_i - \bar t) / \sum_j w_j$ to a weight,
which grows with a sample's distance from the surface. A pull towards a slightly smaller depth then raises the density
right before the camera most, and that is fog.
"""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["surface_depth"]

_LEAST = 1e-6


def surface_depth(
    weights: Float[Tensor, "*rays n"],
    depths: Float[Tensor, "*rays n"],
    depth: Float[Tensor, "*rays"] | None = None,
    *,
    band: float = 0.1,
) -> Float[Tensor, "*rays"]:
    r"""Return the expected depth with the gradient of a mean over depths that are clamped to a band around it.

    $$ \frac{\sum_i w_i \min(\max(t_i, (1 - \beta) \bar t), (1 + \beta) \bar t)}{\sum_i w_i} $$

    Here $\bar t$ is held fixed, so the band bounds the gradient to a weight. Differentiable to weights and depths.

    Args:
        weights: Weights of the samples along each ray, >= 0; a ray whose sum is below 1e-6 has a gradient of 0.
        depths: Planar depths of the samples, > 0.
        depth: Rendered depth of each ray, which is returned; the expected depth if not given.
        band: beta, in (0, 1): half the width of the band around the surface, as a share of its depth.

    Raises:
        ValueError: If the band is not in (0, 1).

    Example:
        >>> import torch
        >>> from scorereg import surface_depth
        >>> weights = torch.tensor([0.1, 0.8, 0.1], requires_grad=True)
        >>> depth = surface_depth(weights, torch.tensor([0.5, 2.0, 3.5]))
        >>> round(depth.item(), 4)
        2.0
        >>> depth.backward()  # of the expected depth it would be -1.5, 0, 1.5
        >>> weights.grad.tolist()
        [-0.20000004768371582, 0.0, 0.20000004768371582]
    """
    if not 0 < band < 1:
        raise ValueError(f"surface_depth needs a band in (0, 1), a share of the depth, but got {band}.")
    total = weights.sum(-1)
    shows, total = total > _LEAST, total.clamp_min(_LEAST)
    if depth is None:
        depth = (weights * depths).sum(-1) / total
    surface = depth.detach()[..., None]
    held = torch.minimum(torch.maximum(depths, (1 - band) * surface), (1 + band) * surface)
    near = torch.where(shows, (weights * held).sum(-1) / total, 0.0)
    return depth.detach() + (near - near.detach())
