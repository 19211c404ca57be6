r"""Parts of all radiance fields: the protocol, the contraction of space, the activation of the density.

points       world coordinates, in metres
density      per metre of planar depth along the ray, >= 0
rgb          in [0, 1]
"""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Field", "contract", "density_activation", "in_pieces", "spherical_harmonics"]

# Points that a network computes at once on a CPU: its activations then stay in the cache, and memory is reused. All of
# 135,000 points at once took 2.7 times as long, forward and backward.
_PIECE = 8192


@runtime_checkable
class Field(Protocol):
    """A function of points and directions that can be rendered: `HashGrid`, `VoxelGrid`, `MLP`, or one of your own.

    For `fit_scene` it is a module that also has `param_groups(lr, lr_network)`, which returns groups of parameters for
    an optimizer: those of grids with the first learning rate, those of networks with the second.
    """

    def __call__(
        self, points: Float[Tensor, "n 3"], directions: Float[Tensor, "n 3"]
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
        """Return density, >= 0 per metre of planar depth, and color in [0, 1]."""
        ...


def contract(
    points: Float[Tensor, "n 3"], center: Float[Tensor, " 3"], radius: Float[Tensor, ""]
) -> Float[Tensor, "n 3"]:
    """Map all of space into the unit cube: the contraction of mip-NeRF 360 (Barron 2022, eq. 10) along each axis.

    A coordinate within `radius` of the center goes to [1/4, 3/4] linearly, all others to the rest. Differentiable.
    """
    x = (points - center) / radius
    size = x.abs().clamp_min(1)
    return (x / size * (2 - 1 / size) + 2) / 4


def spherical_harmonics(directions: Float[Tensor, "n 3"], degree: int) -> Float[Tensor, "n k"]:
    """Real spherical harmonics of the normalised directions up to `degree` (0 to 2), each up to a constant factor."""
    x, y, z = torch.nn.functional.normalize(directions, dim=-1).unbind(-1)
    terms = [torch.ones_like(x)]
    if degree >= 1:
        terms += [y, z, x]
    if degree >= 2:
        terms += [x * y, y * z, (3 * z * z - 1) / 2, x * z, (x * x - y * y) / 2]
    return torch.stack(terms, -1)


def density_activation(raw: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Density `exp(min(raw - 1, 12))`: nearly clear space at raw = 0, and no overflow after a large step."""
    return torch.exp((raw - 1).clamp(max=12))


def in_pieces(function: Callable[..., tuple[Tensor, ...]], *given: Tensor) -> Any:
    """Results of a function of rows, which on a CPU is called for some thousands of them at a time."""
    size = max(len(given[0]), 1) if given[0].is_cuda else _PIECE
    pieces = zip(*(x.split(size) for x in given), strict=True)
    return tuple(torch.cat(parts) for parts in zip(*(function(*piece) for piece in pieces), strict=True))
