"""From raw crops to training patches: depth scale, colour jitter, filled holes, prior space."""

import dataclasses
import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from scorereg.data.channels import RGBD, channel_names
from scorereg.data.frames.pyramid import Crops, Pyramid
from scorereg.data.patch_spec import PatchSpec

__all__ = [
    "augmented", "depth_scale", "fill_holes", "grained", "jitter", "plain_patches", "sharpened", "to_prior_space",
]  # fmt: skip

_COLORS = RGBD[:3]


def augmented(crops: Crops, generator: torch.Generator, spec: PatchSpec) -> tuple[Tensor, Tensor]:
    """Augment raw crops: depth scale, colour jitter, sharpening and grain.

    Returns:
        Patches in prior space, and weights, 0 where a value is unknown.
    """
    names = spec.names
    if "disparity" in names:
        crops = depth_scale(crops, generator, low=spec.depth_range[0], high=spec.depth_range[1])
    if set(_COLORS) & set(names):
        color = jitter(crops.color, generator)
        if spec.sharpen > 0:
            color = sharpened(color, generator, most=spec.sharpen)
        if spec.grain > 0:
            color = grained(color, generator, most=spec.grain)
        crops = dataclasses.replace(crops, color=color)
    return to_prior_space(crops, names)


def plain_patches(pyramid: Pyramid, count: int, spec: PatchSpec, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw patches without augmentation.

    Returns:
        Patches in prior space, and weights, 0 where a value is unknown.
    """
    return to_prior_space(pyramid.crop(count, spec.patch_size, generator, flip=False), spec.names)


def depth_scale(crops: Crops, generator: torch.Generator, *, low: float, high: float) -> Crops:
    """Multiply each patch's depth by a log-uniform factor, as the estimated scale of a scene has an error."""
    draw = torch.rand(len(crops.color), 1, 1, generator=generator)
    factor = torch.exp(math.log(low) + draw * (math.log(high) - math.log(low)))
    return dataclasses.replace(crops, disparity=crops.disparity / factor)


def jitter(color: Float[Tensor, "b 3 p p"], generator: torch.Generator) -> Float[Tensor, "b 3 p p"]:
    """Vary gain per channel, gamma, saturation and brightness of each patch a little; the result is in [0, 1]."""
    gain, gamma, saturation, offset = torch.rand(4, len(color), 3, 1, 1, generator=generator) * 2 - 1
    color = color.clamp_min(1e-4).pow(torch.exp(0.25 * gamma[:, :1]))
    gray = color.mean(1, keepdim=True)
    color = gray + (color - gray) * torch.exp(0.3 * saturation[:, :1])
    return (color * torch.exp(0.12 * gain) + 0.08 * offset[:, :1]).clamp(0, 1)


def sharpened(color: Float[Tensor, "b 3 p p"], generator: torch.Generator, *, most: float) -> Float[Tensor, "b 3 p p"]:
    """Sharpen each patch by unsharp masking, as cameras do; the result is in [0, 1].

    Adds a times the difference to the mean over 3 x 3 pixels, with a uniform in [-`most` / 4, `most`] for each patch.
    """
    amount = most * (1.25 * torch.rand(len(color), 1, 1, 1, generator=generator) - 0.25)
    return (color + amount * (color - avg_pool2d(color, 3, 1, 1, count_include_pad=False))).clamp(0, 1)


def grained(color: Float[Tensor, "b 3 p p"], generator: torch.Generator, *, most: float) -> Float[Tensor, "b 3 p p"]:
    """Add noise like that of cameras, of random strength; the result is in [0, 1].

    Each patch draws the noise's standard deviation, up to `most` in prior space; the share of its variance that the
    channels have in common, as cameras keep colour coarser than brightness; and how far it is smoothed over 3 x 3
    pixels.
    """
    strength, shared, soft = torch.rand(3, len(color), 1, 1, 1, generator=generator)
    shared = shared.sqrt()
    gray = torch.randn(color[:, :1].shape, generator=generator)
    noise = shared.sqrt() * gray + (1 - shared).sqrt() * torch.randn(color.shape, generator=generator)
    noise = torch.lerp(noise, avg_pool2d(noise, 3, 1, 1), soft)
    return (color + 0.5 * most * strength * noise).clamp(0, 1)  # prior space is twice as wide


def fill_holes(value: Float[Tensor, "b p p"], valid: Bool[Tensor, "b p p"]) -> Float[Tensor, "b p p"]:
    """Fill unknown pixels from the known ones around, step by step, each with the mean of its known neighbours."""
    known = valid.to(value.dtype)[:, None]
    filled = value[:, None] * known
    for _ in range(2 * value.shape[-1]):
        if bool((known > 0).all()):
            break
        share = avg_pool2d(known, 3, 1, 1)
        grown = avg_pool2d(filled, 3, 1, 1) / share.clamp_min(1e-6)
        filled = torch.where(known > 0, filled, torch.where(share > 0, grown, 0.0))
        known = (share > 0).to(value.dtype)
    return filled[:, 0]


def to_prior_space(
    crops: Crops, channels: str | tuple[str, ...]
) -> tuple[Float[Tensor, "b c p p"], Float[Tensor, "b c p p"]]:
    """Return patches in [-1, 1] and weights that are 0 where a value is unknown.

    Args:
        crops: Raw crops.
        channels: Channels of the result, in order, as `channel_names` takes them.

    Raises:
        ValueError: If the crops lack one of them.
    """
    values: list[Tensor] = []
    weights: list[Tensor] = []
    for name in channel_names(channels):
        if name in _COLORS:
            value = crops.color[:, _COLORS.index(name)] * 2 - 1
            weight = torch.ones_like(value)
        elif name == "disparity":
            value = fill_holes(crops.disparity, crops.valid).clamp(0, 1) * 2 - 1
            weight = crops.valid.to(value.dtype)
        elif crops.extra is not None and name in crops.names:
            raw = crops.extra[:, crops.names.index(name)]
            known = raw.isfinite()
            value, weight = fill_holes(raw.nan_to_num(0), known), known.to(raw.dtype)
        else:
            held = ", ".join((*_COLORS, "disparity", *crops.names))
            raise ValueError(f"channel {name} is not among what was read: {held}.")
        values.append(value)
        weights.append(weight)
    return torch.stack(values, 1), torch.stack(weights, 1)
