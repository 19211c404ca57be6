"""Blocks of points in a scene, laid out as the prior's training blocks are: upright, tens of points a metre apart.

Where they lie is drawn: some where the field does not know yet whether there is something, some where fewer than two
cameras look, which no photo can decide.
"""

import math
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from scorereg.cameras import Cameras
from scorereg.ops import frustum_count
from scorereg.rendering import Render

__all__ = ["BlockSampler", "Blocks", "upright"]


@dataclass(frozen=True, eq=False)
class Blocks:
    """Lattices of points, each with a distance of its own.

    Args:
        points: World coordinates, metres; the second of the three axes points up.
        voxel: Distance of a block's points, metres.
    """

    points: Float[Tensor, "b s s s 3"]
    voxel: Float[Tensor, " b"]


class BlockSampler:
    """Draw blocks among what rays show.

    Args:
        cameras: The training cameras.
        size: Points along an edge.
        voxel: Smallest and largest distance of points, metres; drawn log-uniformly.
        unseen: Share of the blocks whose middle fewer than two cameras see.
    """

    def __init__(self, cameras: Cameras, *, size: int, voxel: tuple[float, float], unseen: float) -> None:
        if not 0 < voxel[0] <= voxel[1] < math.inf or not 0 <= unseen <= 1:
            raise ValueError(f"BlockSampler needs 0 < voxel low <= high and unseen in [0, 1]; got {voxel}, {unseen}.")
        self.cameras, self.voxel, self.unseen = cameras, voxel, unseen
        self.axes = upright(cameras)
        line = torch.arange(size, device=cameras.pose.device) - (size - 1) / 2
        self.lattice = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), -1)

    def sample(self, shown: Render, count: int, generator: torch.Generator | None = None) -> Blocks:
        """Draw blocks whose middles are samples of some rays, moved by up to a third of an edge.

        A sample's chance goes with its uncertainty alpha (1 - alpha), to which its weight is added: surfaces count as
        well. The blocks of unseen space are drawn evenly from the samples that fewer than two cameras see.
        """
        points = rearrange(shown.points, "r n c -> (r n) c")
        alone = frustum_count(points, self.cameras) < min(2, len(self.cameras))
        weights = shown.weights.detach().flatten()
        chance = weights * (1 - weights) + weights + 1e-6
        source = points.device if generator is None else generator.device

        def draw(*shape: int) -> Tensor:
            return torch.rand(shape, generator=generator, device=source).to(points.device)

        middles = []
        for _ in range(count):
            odds = alone.float() if draw(1).item() < self.unseen and bool(alone.any()) else chance
            middles.append(points[torch.multinomial(odds.to(source), 1, generator=generator).to(points.device)])
        low, high = self.voxel
        voxel = low * (high / low) ** draw(count)
        shift = (draw(count, 3) - 0.5) * (2 / 3) * len(self.lattice) * voxel[:, None]
        return self.at(torch.cat(middles) + shift, voxel)

    def at(self, middle: Float[Tensor, "b 3"], voxel: Float[Tensor, " b"]) -> Blocks:
        """The blocks around some points."""
        offsets = voxel[:, None, None, None, None] * (self.lattice @ self.axes.T)
        return Blocks(middle[:, None, None, None] + offsets, voxel)


def upright(cameras: Cameras) -> Float[Tensor, "3 3"]:
    """The turn, by right angles, whose columns are a block's axes in the world: the second is the world's axis that
    is nearest to the cameras' mean up.
    """  # noqa: D205
    up = -cameras.pose[:, :, 1].mean(0)
    axis = int(up.abs().argmax())
    columns = torch.zeros(3, 3).to(up)
    columns[axis, 1] = up[axis].sign()
    columns[(axis + 1) % 3, 2] = 1
    columns[:, 0] = torch.linalg.cross(columns[:, 1], columns[:, 2])
    return columns
