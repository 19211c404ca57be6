r"""A radiance field that is one network of encoded positions (NeRF, Mildenhall 2020, sections 5.1 and figure 7).

$\gamma_L(p) = (\sin 2^k \pi p, \cos 2^k \pi p)_{k < L}$ of each coordinate p in [-1, 1]: without these frequencies a
network fits only smooth functions of the position.
"""

import math
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scorereg.rendering.field import contract, density_activation, in_pieces

__all__ = ["MLP", "positional_encoding"]


class MLP(nn.Module):
    """NeRF's network: fully connected layers on encoded positions, the color also of the encoded direction.

    Needs no grid and little memory, and is slower by far than `HashGrid`.

    Args:
        center: Center of the scene, in world coordinates.
        radius: Half the side of the cube that is mapped linearly, in metres, > 0; outside, space is contracted.
        layers: Number of hidden layers, >= 1.
        width: Units of a hidden layer, >= 1.
        skip: Layer, counted from 0, whose input includes the encoded position again; `layers // 2 + 1` if not given.
        position_frequencies: Octaves L of the position's encoding.
        direction_frequencies: Octaves of the direction's; with 0 the color is the same from everywhere.
        seed: Seed of the initial parameters.

    Raises:
        ValueError: If `layers` or `width` is below 1, or a number of frequencies is negative.
    """

    center: Tensor
    radius: Tensor

    def __init__(
        self,
        center: Float[Tensor, " 3"],
        radius: float,
        *,
        layers: int = 8,
        width: int = 256,
        skip: int | None = None,
        position_frequencies: int = 10,
        direction_frequencies: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(layers, width) < 1 or min(position_frequencies, direction_frequencies) < 0:
            raise ValueError(
                "MLP needs layers and width of at least 1 and numbers of frequencies of at least 0, "
                f"got {layers}, {width}, {position_frequencies} and {direction_frequencies}."
            )
        self.skip = layers // 2 + 1 if skip is None else skip
        self.position_frequencies, self.direction_frequencies = position_frequencies, direction_frequencies
        self.register_buffer("center", center.clone())
        self.register_buffer("radius", torch.tensor(float(radius)))
        inputs = 6 * position_frequencies
        sizes = [inputs, *[width] * layers]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.trunk = nn.ModuleList(
                nn.Linear(a + inputs * (i == self.skip), b) for i, (a, b) in enumerate(pairwise(sizes))
            )
            self.density = nn.Linear(width, 1)
            self.feature = nn.Linear(width, width)
            half = max(width // 2, 1)
            self.color = nn.Sequential(
                nn.Linear(width + 6 * direction_frequencies, half), nn.ReLU(), nn.Linear(half, 3), nn.Sigmoid()
            )

    def forward(
        self, points: Float[Tensor, "n 3"], directions: Float[Tensor, "n 3"]
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
        """Return density and color. Differentiable to the parameters, points and directions."""
        return in_pieces(self._decode, points, directions)

    def _decode(self, points: Float[Tensor, "n 3"], directions: Float[Tensor, "n 3"]) -> tuple[Tensor, Tensor]:
        place = positional_encoding(2 * contract(points, self.center, self.radius) - 1, self.position_frequencies)
        hidden = place
        for i, layer in enumerate(self.trunk):
            hidden = layer(torch.cat([hidden, place], -1) if i == self.skip else hidden).relu()
        view = positional_encoding(nn.functional.normalize(directions, dim=-1), self.direction_frequencies)
        rgb = self.color(torch.cat([self.feature(hidden), view], -1))
        return density_activation(self.density(hidden)[:, 0]), rgb

    def param_groups(self, lr: float, lr_network: float) -> list[dict[str, Any]]:
        """Return the parameters for an optimizer, all with the networks' learning rate."""
        return [{"params": list(self.parameters()), "lr": lr_network}]


def positional_encoding(x: Float[Tensor, "n d"], frequencies: int) -> Float[Tensor, "n k"]:
    """Sines and cosines of `2^k pi x` for each octave k below `frequencies`; 2 d numbers an octave."""
    octaves = 2.0 ** torch.arange(frequencies, device=x.device, dtype=x.dtype)
    angle = math.pi * (x[..., None] * octaves).flatten(1)
    return torch.cat([angle.sin(), angle.cos()], -1)
