r"""Radiance field on a voxel grid, without a network (Plenoxels, Fridovich-Keil 2022; DVGO, Sun 2022).

vertices     x y z c, at equal distances in a box along the world's axes; outside of it the density is 0
density      1 / m: the exponential of interpolated values, so that a surface may be sharper than a voxel
rgb          the sigmoid of a color plus spherical harmonics of the direction, which are on a coarser grid
"""

import math
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from scorereg.rendering.field import spherical_harmonics

__all__ = ["VoxelGrid", "trilinear"]

_MOST = 12.0  # of the raw density: bounded, so that a step cannot overflow it


class VoxelGrid(nn.Module):
    """A `Field` of densities and colors at the vertices of a box, interpolated between them.

    Args:
        low: Least corner of the box, in metres.
        high: Greatest corner of the box, which it reaches at least.
        vertices: Approximate number of vertices; their distance, the same along all axes, follows from it.
        view_degree: Degree of the spherical harmonics of the direction that the color depends on, 0 to 2.
        coarser: Distance of the vertices of these harmonics, in voxels, >= 1.
        density: Initial density, 1 / m, > 0.
        refine_at: Shares of a fit's steps at which `refine_to` halves the distance of the vertices.

    Raises:
        ValueError: If `high` is not beyond `low`, or a number is out of its range.
    """

    low: Tensor
    size: Tensor

    def __init__(
        self,
        low: Float[Tensor, " 3"],
        high: Float[Tensor, " 3"],
        *,
        vertices: int = 40_000,
        view_degree: int = 2,
        coarser: int = 4,
        density: float = 0.1,
        refine_at: tuple[float, ...] = (),
    ) -> None:
        super().__init__()
        if not bool((high > low).all()) or vertices < 8 or coarser < 1 or not density > 0:
            raise ValueError(
                f"VoxelGrid needs high > low, vertices >= 8, coarser >= 1 and density > 0; got {low.tolist()} to "
                f"{high.tolist()}, {vertices}, {coarser} and {density}."
            )
        if view_degree not in (0, 1, 2):
            raise ValueError(f"VoxelGrid knows spherical harmonics of degree 0, 1 and 2, got {view_degree}.")
        edge = float(((high - low).prod() / vertices) ** (1 / 3)) * coarser
        cells = [max(math.ceil(side / edge - 1e-4), 1) for side in (high - low).tolist()]
        edge = max(side / n for side, n in zip((high - low).tolist(), cells, strict=True))
        self.view_degree, self.refine_at, self._refined = view_degree, refine_at, 0
        self.register_buffer("low", low.clone())
        self.register_buffer("size", edge * torch.tensor(cells).to(low))
        fine = [coarser * n + 1 for n in cells]
        self.raw_density = nn.Parameter(torch.full((*fine, 1), math.log(density)).to(low))
        self.color = nn.Parameter(torch.zeros(*fine, 3).to(low))
        harmonics = 3 * ((view_degree + 1) ** 2 - 1)
        self.view = nn.Parameter(torch.zeros(*(n + 1 for n in cells), harmonics).to(low))

    @property
    def voxel(self) -> float:
        """Distance of the vertices in metres."""
        return float(self.size[0]) / (len(self.raw_density) - 1)

    def forward(
        self, points: Float[Tensor, "n 3"], directions: Float[Tensor, "n 3"]
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
        """Return density and color. Differentiable once, to the parameters alone."""
        unit = self._unit(points)
        corners = _corners(self.color.shape[:3], unit)
        rgb = _Interpolate.apply(self.color, *corners)
        if self.view_degree > 0:
            terms = spherical_harmonics(directions, self.view_degree)[:, 1:]
            rgb = rgb + (rearrange(trilinear(self.view, unit), "n (k c) -> n k c", c=3) * terms[..., None]).sum(1)
        return self._density(unit, _Interpolate.apply(self.raw_density, *corners)), rgb.sigmoid()

    def density(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """Return the density alone, 0 outside of the box. Differentiable once, to the parameters."""
        unit = self._unit(points)
        return self._density(unit, trilinear(self.raw_density, unit))

    def param_groups(self, lr: float, lr_network: float) -> list[dict[str, Any]]:
        """Return the parameters for an optimizer: densities and colors with one rate, harmonics with another.

        Colors take two thirds of the densities' rate: a step of the raw density is a factor on the density.
        """
        rates = ((self.raw_density, lr), (self.color, 2 * lr / 3), (self.view, lr_network))
        return [{"params": [parameter], "lr": rate} for parameter, rate in rates]

    def refine_to(self, progress: float) -> bool:
        """Halve the distance of the vertices at each of `refine_at` that is passed; return whether it was.

        The parameters are new ones then, so an optimizer has to be made anew.

        Args:
            progress: Share of a fit's steps that is done.
        """
        due = sum(progress >= share for share in self.refine_at) - self._refined
        for _ in range(due):
            self.refine()
        self._refined += due
        return due > 0

    @torch.no_grad()
    def refine(self) -> None:
        """Halve the distance of the vertices; the interpolated function stays the same.

        The parameters are new tensors, so that optimizers have to be created again.
        """
        self.raw_density = nn.Parameter(_refined(self.raw_density))
        self.color = nn.Parameter(_refined(self.color))
        self.view = nn.Parameter(_refined(self.view))

    def _unit(self, points: Tensor) -> Tensor:
        return (points - self.low) / self.size

    def _density(self, unit: Tensor, raw: Tensor) -> Tensor:
        inside = ((unit >= 0) & (unit <= 1)).all(-1)
        return torch.where(inside, raw[:, 0].clamp_max(_MOST).exp(), torch.zeros_like(raw[:, 0]))


def trilinear(grid: Float[Tensor, "x y z c"], unit: Float[Tensor, "n 3"]) -> Float[Tensor, "n c"]:
    """Interpolate between vertices. Differentiable once, to the grid; on CPUs a multiple faster than `grid_sample`.

    Args:
        grid: Values at vertices, at least two along each axis; the first is at 0, the last at 1.
        unit: Positions in [0, 1]; outside, the nearest position inside is taken.
    """
    return _Interpolate.apply(grid, *_corners(grid.shape[:3], unit))  # pyright: ignore[reportReturnType]


class _Interpolate(torch.autograd.Function):
    """Weighted sums of eight rows by `embedding_bag`, whose own backward pass would sort them first."""

    @staticmethod
    def forward(ctx, grid: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(rows, weights)
        ctx.shape = grid.shape
        table = grid.reshape(-1, grid.shape[-1])
        return nn.functional.embedding_bag(rows, table, mode="sum", per_sample_weights=weights)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        rows, weights = ctx.saved_tensors
        out = gradient.new_zeros(math.prod(ctx.shape[:3]), ctx.shape[3])
        spread = gradient[:, None] * weights[..., None]
        return out.index_add_(0, rows.flatten(), spread.flatten(0, 1)).reshape(ctx.shape), None, None


@torch.no_grad()
def _corners(shape: torch.Size, unit: Tensor) -> tuple[Tensor, Tensor]:
    """Rows [n, 8] of the vertices around each position, and their weights."""
    cells = torch.tensor(shape, device=unit.device) - 1
    position = unit.clamp(0, 1) * cells
    first = torch.minimum(position.floor().long(), cells - 1)
    second = position - first
    w = torch.stack([1 - second, second], -1)  # n 3 2
    weights = w[:, 0, :, None, None] * w[:, 1, None, :, None] * w[:, 2, None, None, :]
    steps = (shape[1] * shape[2], shape[2], 1)
    base = sum(first[:, axis] * step for axis, step in enumerate(steps))
    ahead = torch.tensor([i * steps[0] + j * steps[1] + k for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    return torch.as_tensor(base)[:, None] + ahead.to(unit.device), weights.reshape(len(unit), 8)


def _refined(grid: Tensor) -> Tensor:
    """The grid with a vertex more between each two, their mean."""
    for axis in range(3):
        n = grid.shape[axis]
        middle = (grid.narrow(axis, 0, n - 1) + grid.narrow(axis, 1, n - 1)) / 2
        both = torch.stack([grid.narrow(axis, 0, n - 1), middle], axis + 1).flatten(axis, axis + 1)
        grid = torch.cat([both, grid.narrow(axis, n - 1, 1)], axis)
    return grid
