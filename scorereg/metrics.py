"""Errors of images and depth maps, in the variants that the few-view literature reports.

Images are `h w 3` in [0, 1]. Every function returns a float.
"""

import math
from functools import cache
from typing import Literal

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

__all__ = ["average", "depth_abs_rel", "lpips", "psnr", "ssim"]


def psnr(image: Float[Tensor, "h w c"], truth: Float[Tensor, "h w c"]) -> float:
    """Peak signal-to-noise ratio, `-10 log10(mean squared error)`, in decibels; infinite for equal images.

    NaN if an image has a NaN.
    """
    _same_shape("psnr", image, truth)
    error = (image.double() - truth.double()).square().mean().item()
    return math.inf if error == 0 else -10 * math.log10(error)


def ssim(image: Float[Tensor, "h w c"], truth: Float[Tensor, "h w c"]) -> float:
    """Structural similarity of scikit-image: 7x7 uniform window, data range 1, mean over the channels."""
    from skimage.metrics import structural_similarity

    _same_shape("ssim", image, truth)
    a, b = (x.detach().cpu().double().numpy() for x in (image, truth))
    return float(np.asarray(structural_similarity(a, b, data_range=1.0, channel_axis=-1)))


def lpips(image: Float[Tensor, "h w 3"], truth: Float[Tensor, "h w 3"], *, net: Literal["alex", "vgg"]) -> float:
    """Learned perceptual distance (Zhang 2018), version 0.1 of the `lpips` package.

    Images are scaled to [-1, 1], as the package requires; papers differ in the range and the network.

    Args:
        image: Image in [0, 1].
        truth: Image to compare with, in [0, 1].
        net: Network whose features are compared. Report it with the number: the two differ by up to a factor of two.

    Raises:
        ValueError: If the `lpips` package is not installed, or the shapes differ.
    """
    _same_shape("lpips", image, truth)
    model = _lpips_network(net).to(image.device)
    a, b = (rearrange(2 * x.float() - 1, "h w c -> 1 c h w") for x in (image, truth))
    with torch.no_grad():
        return model(a, b).item()


def average(psnr: float, ssim: float, lpips: float | None) -> float:
    """Geometric mean of `10^(-PSNR/10)`, `sqrt(1 - SSIM)` and LPIPS of one image (RegNeRF); lower is better.

    Without LPIPS it is the geometric mean of the other two, which is not comparable with published numbers.
    """
    errors = [10 ** (-psnr / 10), math.sqrt(max(1 - ssim, 0.0))]
    if lpips is not None:
        errors.append(lpips)
    return math.prod(errors) ** (1 / len(errors))


def depth_abs_rel(depth: Float[Tensor, "*s"], truth: Float[Tensor, "*s"]) -> float:
    """Mean of `|depth - truth| / truth` over the pixels whose truth is known (> 0), without any alignment.

    Raises:
        ValueError: If the shapes differ, or no pixel of the truth is known.
    """
    _same_shape("depth_abs_rel", depth, truth)
    known = truth > 0
    if not known.any():
        raise ValueError("depth_abs_rel needs a true depth > 0 in at least one pixel; the truth given has none.")
    return ((depth[known] - truth[known]).abs() / truth[known]).double().mean().item()


@cache
def _lpips_network(net: str) -> torch.nn.Module:
    try:
        from lpips import LPIPS  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError("LPIPS needs the package `lpips`: run `pip install lpips`, or leave it out.") from error
    return LPIPS(net=net, version="0.1", verbose=False).eval().requires_grad_(False)


def _same_shape(name: str, a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape:  # would broadcast, silently
        raise ValueError(f"{name} compares images of one shape, but got {tuple(a.shape)} and {tuple(b.shape)}.")
