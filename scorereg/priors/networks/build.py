"""Untrained networks of named sizes: diffusers' `UNet2DModel` for images, `UNetND` for lines and volumes."""

from typing import Any

import torch
from torch import nn

__all__ = ["NETWORK_SIZES", "build_network", "network_settings"]

NETWORK_SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"patchify": 1, "block_out_channels": (16, 32, 64), "layers_per_block": 1, "add_attention": True},
    "small": {"patchify": 1, "block_out_channels": (32, 64, 96), "layers_per_block": 1, "add_attention": True},
    "folded": {"patchify": 2, "block_out_channels": (64, 128, 160), "layers_per_block": 1, "add_attention": False},
    "base": {"patchify": 1, "block_out_channels": (64, 128, 256, 512), "layers_per_block": 1, "add_attention": True},
}


_SIZES_ND: dict[int, dict[str, dict[str, Any]]] = {
    1: {
        "tiny": {"patchify": 1, "block_out_channels": (32, 64)},
        "small": {"patchify": 1, "block_out_channels": (64, 128, 192)},
        "base": {"patchify": 1, "block_out_channels": (128, 256, 384), "layers_per_block": 2, "add_attention": True},
    },
    3: {
        "tiny": {"patchify": 2, "block_out_channels": (16, 32, 64)},
        "small": {"patchify": 2, "block_out_channels": (32, 64, 128)},
        "base": {"patchify": 2, "block_out_channels": (64, 128, 256), "layers_per_block": 2, "add_attention": True},
    },
}


def network_settings(network_size: str, dimensions: int = 2) -> dict[str, Any]:
    """Return the sizes of a named network, with `patchify`: side in pixels of the blocks that are folded into channels.

    Args:
        network_size: tiny, small or base; for images also folded, on blocks of 2 x 2 pixels.
        dimensions: Spatial dimensions: 1, 2 or 3.

    Raises:
        ValueError: If there is no such name.
    """
    named = NETWORK_SIZES if dimensions == 2 else _SIZES_ND[dimensions]
    if network_size not in named:
        raise ValueError(f"no network is called {network_size!r}; choose one of {', '.join(named)}.")
    return dict(named[network_size])


def build_network(
    network_size: str,
    *,
    patch_size: int | tuple[int, ...],
    channels: int,
    patchify: int | None = None,
    inputs: int = 1,
) -> nn.Module:
    """Return an untrained network of a named size: `UNet2DModel` in two dimensions, else `UNetND`.

    With `patchify` above 1, `NetworkPrior` folds blocks of that side into channels: on a CPU a patch then takes a third
    of the time of an equally large network on single pixels.

    Args:
        network_size: A name of `network_settings`.
        patch_size: Spatial shape of a patch, or the side of a square one, in pixels: multiples of `patchify` times 2
            for each level but the first.
        channels: Number of channels in and out.
        patchify: Side of the folded blocks; by default that of the named size.
        inputs: Tensors with the patch's channels that go in: the patch, what a linear denoiser takes for noise, and
            the mask of known values.

    Raises:
        ValueError: If the size is unknown, or the patch has another shape.
    """
    shape = (patch_size, patch_size) if isinstance(patch_size, int) else patch_size
    settings = network_settings(network_size, len(shape))
    own = settings.pop("patchify")
    fold = own if patchify is None else patchify
    levels = len(settings["block_out_channels"])
    stride = fold * 2 ** (levels - 1)
    if any(side < stride or side % stride for side in shape):
        raise ValueError(
            f"network {network_size!r} reduces a patch {stride} times, so its sides must be a multiple of that, "
            f"but are {shape}."
        )
    folded = channels * fold ** len(shape)
    if len(shape) != 2:
        from scorereg.priors.networks.unet_nd import UNetND

        return UNetND(dimensions=len(shape), in_channels=folded * inputs, out_channels=folded, **settings)
    from diffusers import UNet2DModel

    sides: Any = tuple(side // fold for side in shape)
    network: nn.Module = UNet2DModel(
        sample_size=sides[0] if len(set(sides)) == 1 else sides,
        in_channels=folded * inputs,
        out_channels=folded,
        down_block_types=("DownBlock2D",) * levels,
        up_block_types=("UpBlock2D",) * levels,
        norm_num_groups=8,
        attention_head_dim=32,
        **settings,
    )
    for name in (
        "conv_out.weight",
        "conv_out.bias",
    ):  # so that the untrained prior is the optimal linear denoiser of single pixels
        nn.init.zeros_(network.get_parameter(name))
    # The faster layout for convolutions, on CPUs too; torch's type hints lack this overload.
    return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
