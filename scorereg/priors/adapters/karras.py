"""Denoisers called as `D(x, sigma)`: the networks of EDM and the wrappers of k-diffusion."""

import math
from typing import Any

import torch
from torch import nn

from scorereg.priors.adapters.diffusers import channel_names
from scorereg.priors.adapters.unwrapped import check_loaded
from scorereg.priors.adapters.wrapped import WrappedPrior, wrap

__all__ = ["from_denoiser"]


def from_denoiser(
    denoiser: Any,
    *,
    channels: tuple[str, ...] | None = None,
    size: tuple[int, ...] | None = None,
    data_range: tuple[float | int, float | int] | None = None,
    device: str | torch.device = "cpu",
) -> WrappedPrior:
    """Wrap a denoiser `D(x, sigma)`, where x is data plus noise of level sigma.

    Range and shape are read from the object's attributes: EDM's `sigma_min`, `sigma_max`, `img_channels` and
    `img_resolution`, and the table `sigmas` of k-diffusion's `DiscreteSchedule` (Crowson, k_diffusion.external). A
    module is put into evaluation mode. Networks of EDM (`img_channels`) are known to take data in [-1, 1].

    Args:
        denoiser: The denoiser. For further arguments of its call, use `wrap` with `functools.partial`.
        channels: Channel names; by default gray or r, g, b for EDM's networks of 1 and 3 channels.
        size: Spatial shape of a training patch; by default that of EDM's networks.
        data_range: Values of the data that are -1 and 1 in prior space; by default -1 and 1.
        device: Device of the denoiser, if it is a module.

    Raises:
        ValueError: If the channel names are neither given nor known, or it is one of EDM's with labels.
    """
    name = type(denoiser).__name__
    count = getattr(denoiser, "img_channels", None)
    if channels is None and count is None:
        raise ValueError(
            f"the channels of {name} have no names. Give them: load_prior(denoiser, channels=('r', 'g', 'b'))."
        )
    if labels := getattr(denoiser, "label_dim", 0):
        raise ValueError(
            f"{name} is conditioned on {labels} labels. Choose one: scorereg.wrap(functools.partial(network, "
            "class_labels=...), prediction='denoised', channels=..., sigma_range=(0.002, 80))."
        )
    names = channel_names(len(channels or ()) if count is None else count, channels, name)
    if isinstance(denoiser, nn.Module):
        check_loaded(denoiser)
        denoiser.to(device).eval()
    table = getattr(denoiser, "sigmas", None)
    low, high = getattr(denoiser, "sigma_min", 0.0), getattr(denoiser, "sigma_max", math.inf)
    if table is not None:
        low, high = table.min(), table.max()
    side = getattr(denoiser, "img_resolution", None)
    known = count is not None and data_range is None  # EDM's
    return wrap(
        denoiser,
        prediction="denoised",
        channels=names,
        sigma_range=(float(low), float(high)),
        dtype=torch.float32 if hasattr(denoiser, "use_fp16") else None,  # EDM's networks cast by themselves
        size=tuple(size or (() if side is None else (side, side))),
        data_range=(-1, 1) if known else data_range,
    )
