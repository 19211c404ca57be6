"""Denoisers called as `D(x, sigma)`: the networks of EDM and the wrappers of k-diffusion."""

import math
from typing import Any

import torch
from torch import nn

from scorereg.priors.adapters.diffusers import channel_names
from scorereg.priors.adapters.wrapped import WrappedPrior, wrap

__all__ = ["from_denoiser"]


def from_denoiser(
    denoiser: Any, *, channels: tuple[str, ...] | None = None, device: str | torch.device = "cpu"
) -> WrappedPrior:
    """Make a prior of a denoiser `D(x, sigma)` that takes x with noise of level sigma added, in [-1, 1].

    What the object says of itself is used: EDM's `sigma_min`, `sigma_max`, `img_channels` and `img_resolution`, and the
    table `sigmas` of k-diffusion's `DiscreteSchedule` (Crowson, k_diffusion.external). It is put into evaluation mode.

    Args:
        denoiser: The object; more arguments of its call are bound with `functools.partial` and `wrap`.
        channels: Channel names; known for EDM's networks of 1 and 3 channels.
        device: Where it goes, if it is a module.

    Raises:
        ValueError: If nothing says what the channels are.
    """
    name = type(denoiser).__name__
    count = getattr(denoiser, "img_channels", None)
    if channels is None and count is None:
        raise ValueError(
            f"nothing says what the channels of {name} are: load_prior(denoiser, channels=('r', 'g', 'b'))."
        )
    names = channel_names(len(channels or ()) if count is None else count, channels, name)
    if isinstance(denoiser, nn.Module):
        denoiser.to(device).eval()
    table = getattr(denoiser, "sigmas", None)
    low, high = getattr(denoiser, "sigma_min", 0.0), getattr(denoiser, "sigma_max", math.inf)
    if table is not None:
        low, high = table.min(), table.max()
    side = getattr(denoiser, "img_resolution", None)
    return wrap(
        denoiser,
        prediction="denoised",
        channels=names,
        sigma_range=(float(low), float(high)),
        dtype=torch.float32 if hasattr(denoiser, "use_fp16") else None,  # EDM's casts by itself
        size=() if side is None else (side, side),
    )
