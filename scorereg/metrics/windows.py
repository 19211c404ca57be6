"""Structural similarity, by name of its window: papers use two, which differ by up to .02."""

from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from scorereg.metrics.images import Image, Mask, check_pair, filled

__all__ = ["WINDOWS", "Window", "ssim", "windows_count"]

Window = Literal["uniform7", "gaussian11"]
WINDOWS: dict[str, int] = {"uniform7": 7, "gaussian11": 11}  # pixels a side
_SETTINGS = {"uniform7": {}, "gaussian11": {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}}


def ssim(image: Image, truth: Image, mask: Mask | None = None, *, window: Window = "uniform7") -> float:
    """Structural similarity (Wang 2004) by scikit-image: data range 1, mean over channels and over whole windows.

    Only windows that lie in the image count (the valid region): the border of 3 or 5 pixels has none of its own.
    Programs that pad with zeros, as that of 3D Gaussian splatting does, have other values there.

    Args:
        image: Image in [0, 1].
        truth: Image to compare with.
        mask: Pixels that count: the mean is over the windows that hold no others (`windows_count`). All, if not given.
        window: `"uniform7"`, 7x7 pixels of equal weight and sample covariance, as papers of radiance fields have it; or
            `"gaussian11"`, 11x11 pixels of a Gaussian of sigma 1.5, without Bessel's correction, as Wang and papers of
            splatting have it.

    Raises:
        ValueError: If the window is unknown, the shapes differ, the image is smaller, or no window counts.
    """
    from skimage.metrics import structural_similarity

    check_pair("ssim", image, truth, mask)
    side = _side(window)
    if min(image.shape[:2]) < side:
        raise ValueError(f"ssim needs images of {side}x{side} pixels, its window, but got {tuple(image.shape[:2])}.")
    a, b = (filled(x, mask, 0.0).detach().cpu().double().numpy() for x in (image, truth))
    settings = {"data_range": 1.0, "channel_axis": -1, **_SETTINGS[window]}
    if mask is None:
        return float(np.asarray(structural_similarity(a, b, **settings)))  # pyright: ignore[reportArgumentType]
    counts = windows_count(mask, side)
    if not counts.any():
        raise ValueError(f"ssim needs a window of {side}x{side} pixels that all count; the mask has none.")
    each = structural_similarity(a, b, full=True, **settings)[1]  # pyright: ignore
    return float(np.asarray(each)[counts.cpu().numpy()].mean())


def windows_count(mask: Mask, side: int = WINDOWS["uniform7"]) -> Mask:
    """Tell around which pixels a window of SSIM lies in the image and holds no pixel but those that count."""
    left_out = torch.nn.functional.pad((~mask)[None, None].float(), (side // 2,) * 4, value=1.0)
    counts: Tensor = torch.nn.functional.max_pool2d(left_out, side, stride=1)[0, 0] == 0
    return counts


def _side(window: str) -> int:
    if window not in WINDOWS:
        raise ValueError(f"ssim's window must be one of {', '.join(get_args(Window))}, but is {window!r}.")
    return WINDOWS[window]
