"""From raw crops to what the network sees: depth scale, colour jitter, filled holes, prior space."""

import dataclasses
import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from scorereg.data.channels import channel_names
from scorereg.data.frames.pyramid import Crops

__all__ = ["augmented", "depth_scale", "fill_holes", "grained", "jitter", "sharpened", "to_prior_space"]

_COLORS = ("r", "g", "b")


def augmented(
    crops: Crops,
    generator: torch.Generator,
    *,
    channels: str | tuple[str, ...],
    depth_range: tuple[float, float],
    grain: float = 0.0,
    sharpen: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Return what a training step sees of raw crops: patches in prior space, and weights, 0 where unknown.

    Args:
        crops: Colour, raw disparity and further channels.
        generator: Source of the randomness.
        channels: What a patch holds; see `channel_names`.
        depth_range: Smallest and largest factor on a patch's depth.
        grain: Largest standard deviation of the noise in a patch's colours, in prior space.
        sharpen: Largest amount by which colours are sharpened.
    """
    names = channel_names(channels)
    if "disparity" in names:
        crops = depth_scale(crops, generator, low=depth_range[0], high=depth_range[1])
    if set(_COLORS) & set(names):
        color = jitter(crops.color, generator)
        if sharpen > 0:
            color = sharpened(color, generator, most=sharpen)
        crops = dataclasses.replace(crops, color=grained(color, generator, most=grain) if grain > 0 else color)
    return to_prior_space(crops, names)


def depth_scale(crops: Crops, generator: torch.Generator, *, low: float, high: float) -> Crops:
    """Multiply each patch's depth by a log-uniform factor, so that a scene's estimated scale may be off by as much."""
    draw = torch.rand(len(crops.color), 1, 1, generator=generator)
    factor = torch.exp(math.log(low) + draw * (math.log(high) - math.log(low)))
    return dataclasses.replace(crops, disparity=crops.disparity / factor)


def jitter(color: Float[Tensor, "b 3 p p"], generator: torch.Generator) -> Float[Tensor, "b 3 p p"]:
    """Vary gain per channel, gamma, saturation and brightness of each patch a little; stays in [0, 1]."""
    gain, gamma, saturation, offset = torch.rand(4, len(color), 3, 1, 1, generator=generator) * 2 - 1
    color = color.clamp_min(1e-4).pow(torch.exp(0.25 * gamma[:, :1]))
    grey = color.mean(1, keepdim=True)
    color = grey + (color - grey) * torch.exp(0.3 * saturation[:, :1])
    return (color * torch.exp(0.12 * gain) + 0.08 * offset[:, :1]).clamp(0, 1)


def sharpened(color: Float[Tensor, "b 3 p p"], generator: torch.Generator, *, most: float) -> Float[Tensor, "b 3 p p"]:
    """Sharpen each patch as cameras do, by an amount between -`most` / 4, which softens, and `most`; stays in [0, 1].

    The amount times what is finer than a mean over 3 x 3 pixels is added (unsharp masking).
    """
    amount = most * (1.25 * torch.rand(len(color), 1, 1, 1, generator=generator) - 0.25)
    return (color + amount * (color - avg_pool2d(color, 3, 1, 1, count_include_pad=False))).clamp(0, 1)


def grained(color: Float[Tensor, "b 3 p p"], generator: torch.Generator, *, most: float) -> Float[Tensor, "b 3 p p"]:
    """Add the noise of a camera, as strong in each patch as it happens to be; stays in [0, 1], as photos do.

    A patch draws its noise's strength, up to `most` in prior space; how much of its variance the channels share, as
    cameras keep colours coarser than brightness; and how far it is smoothed over 3 x 3 pixels.
    """
    strength, shared, soft = torch.rand(3, len(color), 1, 1, 1, generator=generator)
    shared = shared.sqrt()
    grey = torch.randn(color[:, :1].shape, generator=generator)
    noise = shared.sqrt() * grey + (1 - shared).sqrt() * torch.randn(color.shape, generator=generator)
    noise = torch.lerp(noise, avg_pool2d(noise, 3, 1, 1), soft)
    return (color + 0.5 * most * strength * noise).clamp(0, 1)  # prior space is twice as wide


def fill_holes(value: Float[Tensor, "b p p"], valid: Bool[Tensor, "b p p"]) -> Float[Tensor, "b p p"]:
    """Grow known values into the unknown, each new pixel the mean of its known neighbours."""
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
        crops: Colour, raw disparity and further channels.
        channels: What is wanted, in its order; see `channel_names`.

    Raises:
        ValueError: If the crops do not hold one of them.
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
