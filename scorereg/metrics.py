"""Errors of images and depth maps, in the variants that the few-view literature reports.

Images are `h w 3` in [0, 1]. Every metric is a float. With a `mask` only its pixels count: no value at another pixel
changes the result.
"""

import math
from functools import cache
from typing import Literal

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["average", "depth_abs_rel", "lpips", "psnr", "ssim", "windows_count"]

Image = Float[Tensor, "h w c"]
Mask = Bool[Tensor, "h w"]
WINDOW = 7  # pixels, of SSIM


def psnr(image: Image, truth: Image, mask: Mask | None = None) -> float:
    """Peak signal-to-noise ratio, `-10 log10(mean squared error)`, in decibels; infinite for equal images.

    NaN if an image has a NaN.

    Args:
        image: Image in [0, 1].
        truth: Image to compare with.
        mask: Pixels that count; all, if not given.

    Raises:
        ValueError: If the shapes differ, or no pixel counts.
    """
    _same_shape("psnr", image, truth)
    _some("psnr", mask, image)
    if mask is not None:
        image, truth = image[mask], truth[mask]
    error = (image.double() - truth.double()).square().mean().item()
    return math.inf if error == 0 else -10 * math.log10(error)


def ssim(image: Image, truth: Image, mask: Mask | None = None) -> float:
    """Structural similarity of scikit-image: 7x7 uniform window, data range 1, mean over the channels.

    Args:
        image: Image in [0, 1].
        truth: Image to compare with.
        mask: Pixels that count: the mean is over the windows that hold no others (`windows_count`). All, if not given.

    Raises:
        ValueError: If the shapes differ, or no window counts.
    """
    from skimage.metrics import structural_similarity

    _same_shape("ssim", image, truth)
    _some("ssim", mask, image)
    a, b = (_filled(x, mask, 0.0).detach().cpu().double().numpy() for x in (image, truth))
    if mask is None:
        return float(np.asarray(structural_similarity(a, b, data_range=1.0, channel_axis=-1)))
    counts = windows_count(mask)
    if not counts.any():
        raise ValueError(f"ssim needs a window of {WINDOW}x{WINDOW} pixels that all count; the mask has none.")
    each = structural_similarity(a, b, data_range=1.0, channel_axis=-1, full=True)[1]  # pyright: ignore
    return float(np.asarray(each)[counts.cpu().numpy()].mean())


def windows_count(mask: Mask) -> Mask:
    """Tell around which pixels a window of SSIM lies in the image and holds no pixel but those that count."""
    left_out = torch.nn.functional.pad((~mask)[None, None].float(), (WINDOW // 2,) * 4, value=1.0)
    return torch.nn.functional.max_pool2d(left_out, WINDOW, stride=1)[0, 0] == 0


def lpips(
    image: Float[Tensor, "h w 3"],
    truth: Float[Tensor, "h w 3"],
    *,
    net: Literal["alex", "vgg"],
    mask: Mask | None = None,
) -> float:
    """Learned perceptual distance (Zhang 2018), version 0.1 of the `lpips` package.

    Images are scaled to [-1, 1], as the package requires; papers differ in the range and the network.

    Args:
        image: Image in [0, 1].
        truth: Image to compare with, in [0, 1].
        net: Network whose features are compared. Report it with the number: the two differ by up to a factor of two.
        mask: Pixels that count; the others are mid-grey in both images. All, if not given.

    Raises:
        ValueError: If the `lpips` package is not installed, or the shapes differ.
    """
    _same_shape("lpips", image, truth)
    _some("lpips", mask, image)
    model = _lpips_network(net).to(image.device)
    a, b = (rearrange(2 * _filled(x, mask, 0.5).float() - 1, "h w c -> 1 c h w") for x in (image, truth))
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


def _some(name: str, mask: Tensor | None, image: Tensor) -> None:
    if mask is None:
        return
    if mask.shape != image.shape[:2]:
        raise ValueError(f"{name} needs a mask of the images' {tuple(image.shape[:2])}, but got {tuple(mask.shape)}.")
    if not mask.any():
        raise ValueError(f"{name} needs a pixel that counts; the mask given has none.")


def _filled(x: Tensor, mask: Tensor | None, value: float) -> Tensor:
    return x if mask is None else torch.where(mask[..., None], x, value)
