"""Errors of images and depth maps: PSNR, the average of three errors, relative depth.

Images are `h w 3` in [0, 1]. Every metric is a float. With a `mask` only its pixels count: no value at another pixel
changes the result.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["Image", "Mask", "average", "check_pair", "depth_abs_rel", "filled", "on_white", "psnr"]

Image = Float[Tensor, "h w c"]
Mask = Bool[Tensor, "h w"]


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
    check_pair("psnr", image, truth, mask)
    if mask is not None:
        image, truth = image[mask], truth[mask]
    error = (image.double() - truth.double()).square().mean().item()
    return math.inf if error == 0 else -10 * math.log10(error)


def on_white(image: Image, mask: Mask) -> Image:
    """Put an object on white: the image where the mask counts, 1 elsewhere.

    With both images put so, SSIM and LPIPS of an object are what the papers of DTU's few-view protocol report
    (RegNeRF); all windows and pixels of the picture then count, white ones too.
    """
    return filled(image, mask, 1.0)


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
    check_pair("depth_abs_rel", depth, truth)
    known = truth > 0
    if not known.any():
        raise ValueError("depth_abs_rel needs a true depth > 0 in at least one pixel; the truth given has none.")
    return ((depth[known] - truth[known]).abs() / truth[known]).double().mean().item()


def check_pair(name: str, image: Tensor, truth: Tensor, mask: Tensor | None = None) -> None:
    """Check that images have one shape, and that a mask of them has a pixel that counts."""
    if image.shape != truth.shape:  # would broadcast, silently
        raise ValueError(f"{name} compares images of one shape, but got {tuple(image.shape)} and {tuple(truth.shape)}.")
    if mask is None:
        return
    if mask.shape != image.shape[:2]:
        raise ValueError(f"{name} needs a mask of the images' {tuple(image.shape[:2])}, but got {tuple(mask.shape)}.")
    if not mask.any():
        raise ValueError(f"{name} needs a pixel that counts; the mask given has none.")


def filled(x: Tensor, mask: Tensor | None, value: float) -> Tensor:
    """Put one value where the mask does not count."""
    return x if mask is None else torch.where(mask[..., None], x, value)
