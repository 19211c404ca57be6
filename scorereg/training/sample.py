"""Draw patches from a prior, and a picture of them: the quickest look at what it has learned."""

import math
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from scorereg.priors.network import NetworkPrior

__all__ = ["heun", "noise_levels", "patch_grid", "save_grid"]


def noise_levels(low: float, high: float, steps: int, *, rho: float = 7.0) -> Float[Tensor, " n"]:
    """Noise levels from high to low, evenly spaced in `sigma ** (1 / rho)`, then 0.

    Source: Karras et al. 2022, eq. 5.
    """
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    levels = (high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    return torch.cat([levels.clamp(low, high), levels.new_zeros(1)])


def heun(prior: NetworkPrior, count: int, *, steps: int = 30, seed: int = 0) -> Float[Tensor, "n c h w"]:
    """Sample patches by the deterministic second-order sampler.

    Source: Karras et al. 2022, algorithm 1.

    Args:
        prior: The denoiser; its card gives shape and noise range.
        count: Number of patches.
        steps: Noise levels; the network is called twice for each but the last.
        seed: Seeds the initial noise.
    """
    card = prior.card
    levels = noise_levels(card.sigma_min, card.sigma_max, steps)
    generator = torch.Generator().manual_seed(seed)
    device = next(prior.parameters()).device
    x = torch.randn(count, len(card.channels), *card.size, generator=generator).to(device) * card.sigma_max
    for here, there in zip(levels[:-1].tolist(), levels[1:].tolist(), strict=True):
        slope = (x - prior.denoise(x, x.new_full((count,), here))) / here
        ahead = x + (there - here) * slope
        if there > 0:
            later = (ahead - prior.denoise(ahead, x.new_full((count,), there))) / there
            ahead = x + (there - here) * (slope + later) / 2
        x = ahead
    return x


def patch_grid(x: Float[Tensor, "n c h w"], channels: tuple[str, ...], *, zoom: int = 3) -> np.ndarray:
    """Return an 8-bit picture: each patch's colour, with its disparity (near is bright) to the right of it."""
    tiles, parts = [], []
    for patch in ((x.detach().cpu().clamp(-1, 1) + 1) * 127.5).numpy():
        planes = dict(zip(channels, patch, strict=True))
        parts = [np.stack([planes[c] for c in "rgb"], -1)] if "r" in planes else []
        parts += [plane[..., None].repeat(3, -1) for name, plane in planes.items() if name not in "rgb"]
        tiles.append(np.pad(np.concatenate(parts, 1), ((1, 1), (1, 1), (0, 0))))
    columns = max(math.isqrt(len(tiles) // max(len(parts), 1)), 1)
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[i : i + columns], 1) for i in range(0, len(tiles), columns)]
    return np.concatenate(rows).round().astype(np.uint8).repeat(zoom, 0).repeat(zoom, 1)


def save_grid(path: Path, x: Float[Tensor, "n c h w"], channels: tuple[str, ...]) -> None:
    """Write `patch_grid` as a PNG."""
    from PIL import Image

    Image.fromarray(patch_grid(x, channels)).save(path, format="PNG")
