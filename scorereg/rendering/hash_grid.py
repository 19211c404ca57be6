"""Radiance field on a multiresolution hash grid, and the coarse density grid that proposes where to sample it."""

from itertools import pairwise
from typing import Any, Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from scorereg.ops import GridShape, hash_encode
from scorereg.ops._hash_encode.op import Backend
from scorereg.ops._hash_encode.tinycudann import tinycudann_config
from scorereg.rendering.field import contract, density_activation, in_pieces, spherical_harmonics

__all__ = ["DensityGrid", "HashGrid"]


class HashGrid(nn.Module):
    """A multiresolution hash grid with two small networks (Mueller 2022, Instant NGP).

    Args:
        center: Center of the scene, in world coordinates.
        radius: Half the side of the cube that is mapped linearly, in metres, > 0; outside, space is contracted.
        shape: Sizes of the grid; `GridShape()` if not given.
        hidden: Units of the networks' hidden layers.
        view_degree: Degree of the spherical harmonics of the direction that the color depends on, 0 to 2; with 0 it is
            the same from everywhere.
        finest_level_scale: Factor on the finest level's features; 1 for the coarsest level, and geometric in
            between. Adam moves all features by equal steps, so below 1 fine detail is learned later than coarse shape.
        backend: `"auto"`, `"triton"`, `"compiled"` and `"eager"` are `ops.hash_encode`'s; `"tinycudann"` encodes with
            tiny-cuda-nn, on CUDA.
        seed: Seed of the initial parameters.

    Raises:
        ValueError: If `view_degree` is not 0, 1 or 2.
        RuntimeError: If the backend cannot run here.
    """

    center: Tensor
    radius: Tensor
    level_weights: Tensor

    def __init__(
        self,
        center: Float[Tensor, " 3"],
        radius: float,
        *,
        shape: GridShape | None = None,
        hidden: int = 64,
        view_degree: int = 1,
        finest_level_scale: float = 1.0,
        backend: Backend | Literal["tinycudann"] = "auto",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if view_degree not in (0, 1, 2):
            raise ValueError(f"HashGrid knows spherical harmonics of degree 0, 1 and 2, got view_degree={view_degree}.")
        self.shape = shape or GridShape()
        self.view_degree = view_degree
        self.finest_level_scale = finest_level_scale
        self.register_buffer("center", center.clone())
        self.register_buffer("radius", torch.tensor(float(radius)))
        self.register_buffer("level_weights", torch.ones(self.shape.levels), persistent=False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if backend == "tinycudann":
                self.encoder: nn.Module = _TinyCudaEncoder(self.shape)
            else:
                self.encoder = _TorchEncoder(self.shape, backend)
            self.geometry = _mlp(self.shape.levels * self.shape.features, hidden, 16)
            self.color = _mlp(15 + (view_degree + 1) ** 2, hidden, 3, layers=2)
        self.set_active_levels(1.0)

    def forward(
        self, points: Float[Tensor, "n 3"], directions: Float[Tensor, "n 3"]
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
        """Return density and color. Differentiable once, to the parameters alone."""
        return in_pieces(self._decode, self.encoder(contract(points, self.center, self.radius)), directions)

    def _decode(self, code: Float[Tensor, "n lf"], directions: Float[Tensor, "n 3"]) -> tuple[Tensor, Tensor]:
        """Density and color from the grid's features."""
        latent = self.geometry(code * self.level_weights.repeat_interleave(self.shape.features))
        view = spherical_harmonics(directions, self.view_degree)
        rgb = self.color(torch.cat([latent[:, 1:], view], -1)).sigmoid()
        return density_activation(latent[:, 0]), rgb

    def param_groups(self, lr: float, lr_network: float) -> list[dict[str, Any]]:
        """Return the parameters for an optimizer: the table with one learning rate, the networks with another."""
        networks = [*self.geometry.parameters(), *self.color.parameters()]
        return [{"params": list(self.encoder.parameters()), "lr": lr}, {"params": networks, "lr": lr_network}]

    def delay_compiling(self, points: int | float) -> None:
        """Encode so many points more without compiling, which takes longer than to render a few images; 0 ends that.

        It holds on a CPU, for the backend `"auto"`, where no gradient is computed.
        """
        if isinstance(self.encoder, _TorchEncoder):
            self.encoder.uncompiled = points

    def set_active_levels(self, share: float) -> None:
        """Activate the levels coarse to fine: the two coarsest at `share` 0, all at 1, one after the other between.

        So a field fitted to few photos gets a coarse shape before fine detail (as FreeNeRF, Yang 2023).
        """
        shown = 2 + share * (self.shape.levels - 2)
        level = torch.arange(self.shape.levels, device=self.level_weights.device)
        falling = self.finest_level_scale ** (level / max(self.shape.levels - 1, 1))
        self.level_weights.copy_((shown - level).clamp(0, 1) * falling)


class DensityGrid(nn.Module):
    """A coarse grid of densities, the proposal for sampling a field; trained by `rendering.proposal_loss` alone.

    Args:
        center: Center of the scene, as the field's.
        radius: Half the side of the cube that is mapped linearly, as the field's.
        size: Vertices along each axis.
    """

    center: Tensor
    radius: Tensor

    def __init__(self, center: Float[Tensor, " 3"], radius: float, *, size: int = 64) -> None:
        super().__init__()
        self.register_buffer("center", center.clone())
        self.register_buffer("radius", torch.tensor(float(radius)))
        self.grid = nn.Parameter(torch.zeros(1, 1, size, size, size))

    def forward(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """Return the density. Differentiable to the grid."""
        x = 2 * contract(points, self.center, self.radius) - 1
        grid = rearrange(x, "n c -> 1 n 1 1 c")
        raw = torch.nn.functional.grid_sample(self.grid, grid, align_corners=True, padding_mode="border")
        # a cell has few gradients beside a network's output: the factor makes it learn as fast
        return density_activation(10 * raw.flatten())


def _mlp(inputs: int, hidden: int, outputs: int, *, layers: int = 1) -> nn.Sequential:
    sizes = [inputs] + [hidden] * layers
    blocks = [nn.Sequential(nn.Linear(a, b), nn.ReLU()) for a, b in pairwise(sizes)]
    return nn.Sequential(*blocks, nn.Linear(hidden, outputs))


class _TorchEncoder(nn.Module):
    def __init__(self, shape: GridShape, backend: Backend) -> None:
        super().__init__()
        self.shape = shape
        self.backend: Backend = backend
        self.uncompiled = 0.0  # points, see `HashGrid.delay_compiling`
        self.table = nn.Parameter((2 * torch.rand(sum(shape.rows), shape.features) - 1) * 1e-4)

    def forward(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n lf"]:
        backend = self.backend
        if backend == "auto" and self.uncompiled > 0 and x.device.type == "cpu" and not torch.is_grad_enabled():
            backend, self.uncompiled = "eager", self.uncompiled - len(x)
        return hash_encode(x, self.table, self.shape, backend=backend)


class _TinyCudaEncoder(nn.Module):
    """The same grid by tiny-cuda-nn, whose half precision is returned as float32."""

    def __init__(self, shape: GridShape) -> None:
        super().__init__()
        try:
            import tinycudann as tcnn  # pyright: ignore[reportMissingImports]
        except (ImportError, OSError) as error:
            raise RuntimeError(
                "backend='tinycudann' needs tiny-cuda-nn's torch bindings and CUDA; it could not be imported "
                f"({error}). Install it, or use backend='auto'."
            ) from error
        self.encoding = tcnn.Encoding(3, tinycudann_config(shape))

    def forward(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n lf"]:
        return self.encoding(x).float()
