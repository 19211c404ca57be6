"""Measurements of photos: differentiable functions of images in [0, 1], in plain torch."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

__all__ = ["NAMES", "Case", "blur", "case"]

Measure = Callable[[Tensor], Tensor]
NAMES = ("denoise", "deblur", "inpaint", "super-resolve", "compressed sensing", "phase retrieval")


@dataclass(frozen=True)
class Case:
    """A measurement of a photo.

    Args:
        name: One of `NAMES`.
        measure: The operator, without noise.
        noise: Standard deviation of the noise.
        y: The measurement.
        back: A simple image from it, to compare with and to start from; None where there is none.
    """

    name: str
    measure: Measure
    noise: float
    y: Tensor
    back: Tensor | None


def blur(x: Float[Tensor, "b c h w"], width: float) -> Float[Tensor, "b c h w"]:
    """Blur by a Gaussian of a width in pixels; the border is mirrored."""
    radius = int(4 * width) + 1
    t = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
    kernel = (-(t**2) / (2 * width**2)).exp()
    kernel, c = kernel / kernel.sum(), x.shape[1]
    x = functional.pad(x, (radius,) * 4, mode="reflect")
    x = functional.conv2d(x, kernel.view(1, 1, 1, -1).expand(c, 1, 1, -1), groups=c)
    return functional.conv2d(x, kernel.view(1, 1, -1, 1).expand(c, 1, -1, 1), groups=c)


def case(name: str, x: Float[Tensor, "b c h w"], *, noise: float = 0.04, seed: int = 1) -> Case:
    """Measure photos in one of six ways.

    Args:
        name: `"denoise"` (noise 0.1), `"deblur"` (1.5 pixels), `"inpaint"` (70 % of the pixels missing),
            `"super-resolve"` (3 x 3 means), `"compressed sensing"` (a quarter of a randomised Fourier transform) or
            `"phase retrieval"` (the absolute value of the Fourier transform of the photo padded to twice its size, the
            start being a blurred photo).
        x: Photos in [0, 1].
        noise: Standard deviation of the noise, in units of the measurement.
        seed: Seed of masks and noise.

    Raises:
        ValueError: If no case has that name.
    """
    generator = torch.Generator().manual_seed(seed)
    height, width = x.shape[2:]
    kept = (torch.rand(1, 1, height, width, generator=generator) > 0.7).to(x)
    if name == "denoise":
        noise = 0.1
        measure = lambda u: 1 * u  # noqa: E731
    elif name == "deblur":
        measure = lambda u: blur(u, 1.5)  # noqa: E731
    elif name == "inpaint":
        measure = lambda u: u * kept  # noqa: E731
    elif name == "super-resolve":
        measure = lambda u: functional.avg_pool2d(u, 3, ceil_mode=True)  # noqa: E731
    elif name == "compressed sensing":
        signs = torch.where(torch.rand(1, 1, height, width, generator=generator) > 0.5, 1.0, -1.0)
        rows = torch.randperm(height * width, generator=generator)[: height * width // 8]
        measure = lambda u: torch.fft.fft2(signs * u, norm="ortho").flatten(2)[..., rows]  # noqa: E731
    elif name == "phase retrieval":
        measure = lambda u: torch.fft.fft2(u, s=(2 * height, 2 * width), norm="ortho").abs()  # noqa: E731
    else:
        raise ValueError(f"no case is called {name!r}; choose one of {', '.join(NAMES)}.")
    clean = measure(x)
    real = torch.view_as_real(clean) if clean.is_complex() else clean
    real = real + noise * torch.randn(real.shape, generator=generator)
    y = torch.view_as_complex(real) if clean.is_complex() else real
    if name == "inpaint":
        y = y * kept
    return Case(name, measure, noise, y, _back(name, x, y))


def _back(name: str, x: Tensor, y: Tensor) -> Tensor | None:
    """What a user would look at before restoring: the measurement as an image."""
    if name in ("denoise", "deblur", "inpaint"):
        return y
    if name == "super-resolve":
        return functional.interpolate(y, size=x.shape[2:], mode="bicubic", align_corners=False)
    return blur(x, 4.0) if name == "phase retrieval" else None
