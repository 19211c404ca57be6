"""A stationary Gaussian field as a prior in closed form, for tests and small examples.

The Fourier coefficients of a stationary Gaussian field on a torus are independent, so its optimal denoiser is the
Wiener filter (Wiener 1949), and its score is known exactly.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from scorereg.priors.base import check_patch
from scorereg.priors.composition import check_names, check_number, check_whole

__all__ = ["GaussianFieldPrior"]


class GaussianFieldPrior(nn.Module):
    r"""A stationary Gaussian field with a power-law spectrum, zero mean and independent channels.

    $$ \hat D(f) = \frac{S(f)}{S(f) + \sigma^2} \hat x(f), \qquad S(f) \propto (|f| + 1 / n)^{-\mathrm{slope}} $$

    for patches of n x n pixels. Exact, and differentiable to `x`.

    Args:
        size: Height and width of a patch, in pixels.
        channels: Channel names, in order; all share the spectrum.
        slope: Exponent of the power spectrum: power falls as `frequency ** -slope`.
        std: Standard deviation of a pixel, in prior-space units.

    Raises:
        ValueError: If `size` or `std` is not positive, `slope` not finite, or no channel is named, or one twice.
    """

    power: Tensor

    def __init__(self, size: int, channels: tuple[str, ...], *, slope: float = 3.0, std: float = 0.5) -> None:
        super().__init__()
        check_whole(size, "`size` of a Gaussian field, the side of its square patches,", 1)
        check_number(std, "`std` of a Gaussian field", above=0.0)
        check_number(slope, "`slope` of a Gaussian field")
        check_names(channels, "GaussianFieldPrior")
        if len(set(channels)) < len(channels):
            raise ValueError(f"GaussianFieldPrior needs each channel's name once, but got {tuple(channels)}.")
        self.channels = tuple(channels)
        self.size, self.slope, self.std = size, slope, std
        frequency = torch.fft.fftfreq(size, dtype=torch.float64).square()
        radius = (rearrange(frequency, "h -> h 1") + frequency).sqrt()
        power = (radius + 1 / size) ** -slope
        self.register_buffer("power", power * (std**2 / power.mean()))

    def denoise(self, x: Float[Tensor, "b c h w"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
        """Return the posterior mean, computed in the dtype of `x`.

        Raises:
            ValueError: If the patch has another size or other channels than the field, or sigma is not one level each.
        """
        check_patch(self, x, sigma)
        self._check(x)
        power = self.power.to(x.dtype)
        noise = rearrange(sigma, "b -> b 1 1 1").to(x.dtype).square()
        return torch.fft.ifft2(power / (power + noise) * torch.fft.fft2(x)).real

    def sample(self, count: int, *, generator: torch.Generator | None = None) -> Float[Tensor, "n c h w"]:
        """Draw fields from the prior, in the dtype of its spectrum."""
        shape = (count, len(self.channels), *self.power.shape)
        white = torch.randn(shape, generator=generator, dtype=self.power.dtype, device=self.power.device)
        return torch.fft.ifft2(self.power.sqrt() * torch.fft.fft2(white)).real

    def log_density(self, x: Float[Tensor, "b c h w"], sigma: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Return the log density of the noised field up to a constant; its gradient is the score.

        Raises:
            ValueError: If the patch has another size than the field.
        """
        self._check(x)
        power = torch.fft.fft2(x, norm="ortho").abs().square()
        noise = rearrange(sigma, "b -> b 1 1 1").square()
        return -0.5 * (power / (self.power.to(x.dtype) + noise)).sum(dim=(1, 2, 3))

    def __repr__(self) -> str:
        channels, size = " ".join(self.channels), f"{self.size}x{self.size}"
        return f"GaussianFieldPrior(channels={channels}, size={size}, slope={self.slope:g}, std={self.std:g})"

    def _check(self, x: Tensor) -> None:
        """Check the shape, as a patch of another size could broadcast."""
        if x.ndim != 4 or x.shape[2:] != self.power.shape:
            size = "x".join(str(side) for side in self.power.shape)
            raise ValueError(
                f"GaussianFieldPrior needs patches of {size} pixels, shape (b, c, h, w), but got {tuple(x.shape)}."
            )
