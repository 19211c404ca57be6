"""From raw crops to what the network sees: depth scale, colour jitter, filled holes, prior space."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from scorereg.training.data import Crops

__all__ = ["CHANNELS", "depth_scale", "fill_holes", "jitter", "to_prior_space"]

CHANNELS: dict[str, tuple[str, ...]] = {
    "rgbd": ("r", "g", "b", "disparity"),
    "rgb": ("r", "g", "b"),
    "d": ("disparity",),
}


def depth_scale(crops: Crops, generator: torch.Generator, *, low: float, high: float) -> Crops:
    """Multiply each patch's depth by a log-uniform factor, so that a scene's estimated scale may be off by as much."""
    draw = torch.rand(len(crops.color), 1, 1, generator=generator)
    factor = torch.exp(math.log(low) + draw * (math.log(high) - math.log(low)))
    return Crops(crops.color, crops.disparity / factor, crops.valid)


def jitter(color: Float[Tensor, "b 3 p p"], generator: torch.Generator) -> Float[Tensor, "b 3 p p"]:
    """Vary gain per channel, gamma, saturation and brightness of each patch a little; stays in [0, 1]."""
    gain, gamma, saturation, offset = torch.rand(4, len(color), 3, 1, 1, generator=generator) * 2 - 1
    color = color.clamp_min(1e-4).pow(torch.exp(0.25 * gamma[:, :1]))
    grey = color.mean(1, keepdim=True)
    color = grey + (color - grey) * torch.exp(0.3 * saturation[:, :1])
    return (color * torch.exp(0.12 * gain) + 0.08 * offset[:, :1]).clamp(0, 1)


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


def to_prior_space(crops: Crops, channels: str) -> tuple[Float[Tensor, "b c p p"], Float[Tensor, "b c p p"]]:
    """Return patches in [-1, 1] and weights that are 0 where depth was not measured.

    Args:
        crops: Colour and raw disparity.
        channels: A key of `CHANNELS`.
    """
    disparity = fill_holes(crops.disparity, crops.valid).clamp(0, 1)
    x = torch.cat([crops.color, disparity[:, None]], 1) * 2 - 1
    weight = torch.cat([torch.ones_like(crops.color), crops.valid.to(x.dtype)[:, None]], 1)
    chosen = {"rgbd": slice(0, 4), "rgb": slice(0, 3), "d": slice(3, 4)}[channels]
    return x[:, chosen], weight[:, chosen]
