r"""Draw samples from a prior with Heun's method.

The sampler solves the probability flow ODE of variance-exploding noise, from pure noise down to sigma = 0,

    dx / dsigma = (x - D(x, sigma)) / sigma

Source: Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models", eq. 3 and algorithm 1.
"""

import itertools
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scorereg._progress import steps as told_steps
from scorereg.priors.base import Prior, one_line

__all__ = ["heun", "noise_levels", "sample"]


def noise_levels(low: float, high: float, steps: int, *, rho: float = 7.0) -> Float[Tensor, " n"]:
    """Return noise levels from high to low, evenly spaced in `sigma ** (1 / rho)`, then 0.

    Source: Karras et al. 2022, eq. 5.

    Args:
        low: Smallest level above 0, in prior-space units.
        high: Largest level.
        steps: Number of levels above 0.
        rho: Exponent; a larger one puts more levels near `low`.
    """
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    levels = (high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    return torch.cat([levels.clamp(low, high), levels.new_zeros(1)])


def heun(prior: Prior, x: Float[Tensor, "b c *space"], levels: Float[Tensor, " n"]) -> Float[Tensor, "b c *space"]:
    """Integrate the probability flow ODE from the first noise level to the last by Heun's method.

    Second order in the step. A last step to 0 is an Euler step, whose result is the denoised patch.

    Source: Karras et al. 2022, algorithm 1, which is algorithm 2 without churn.

    Args:
        prior: The denoiser; called twice per step, once in a step to 0.
        x: Samples at level `levels[0]`, in prior space.
        levels: Decreasing noise levels in prior-space units; only the last may be 0.
    """
    for here, there in told_steps("drawing samples", itertools.pairwise(levels.tolist()), len(levels) - 1):
        slope = (x - prior.denoise(x, x.new_full((len(x),), here))) / here
        ahead = x + (there - here) * slope
        if there > 0:
            later = (ahead - prior.denoise(ahead, x.new_full((len(x),), there))) / there
            ahead = x + (there - here) * (slope + later) / 2
        x = ahead
    return x


@torch.no_grad()
def sample(
    prior: Prior,
    count: int,
    *,
    steps: int = 30,
    seed: int = 0,
    size: tuple[int, ...] | None = None,
    sigmas: tuple[float, float] | None = None,
    device: str | torch.device | None = None,
) -> Float[Tensor, "n c *space"]:
    """Draw patches from a prior: noise at its largest sigma, integrated to 0 by `heun` along `noise_levels`.

    Args:
        prior: The denoiser.
        count: Number of patches, >= 1.
        steps: Noise levels, >= 1; the prior is called twice for each but the last.
        seed: Seed of the initial noise, which is drawn on the CPU, so that all devices start from the same.
        size: Spatial shape in pixels; by default the card's.
        sigmas: Smallest and largest noise level, by default the card's. The largest must be far above the spread of
            the data.
        device: Device to compute on; by default that of the prior's weights.

    Returns:
        Patches in prior space, not clipped to its range.

    Raises:
        ValueError: If `count` or `steps` is below 1, neither the arguments nor a card give size and noise levels, or
            the samples are not finite.

    Example:
        >>> from scorereg import GaussianFieldPrior, sample
        >>> prior = GaussianFieldPrior(size=8, channels=("disparity",))
        >>> sample(prior, 2, size=(8, 8), sigmas=(0.01, 50.0)).shape
        torch.Size([2, 1, 8, 8])
    """
    if count < 1 or steps < 1:
        raise ValueError(f"sampling needs at least 1 patch and 1 step, but got {count} patches and {steps} steps.")
    card = getattr(prior, "card", None)
    size = size or tuple(getattr(card, "size", ()))
    low, high = sigmas or (getattr(card, "sigma_min", 0.0), getattr(card, "sigma_max", 0.0))
    if not size:
        raise ValueError(f"a {type(prior).__name__} has no card with the size of its patches. Give size=(...).")
    if not 0 < low < high < math.inf:
        raise ValueError(
            f"sampling needs noise levels 0 < smallest < largest, but has {low:g} and {high:g}. "
            "Give sigmas=(low, high)."
        )
    noise = torch.randn(count, len(prior.channels), *size, generator=torch.Generator().manual_seed(seed))
    x = heun(prior, noise.to(device or device_of(prior)) * high, noise_levels(low, high, steps))
    if not bool(x.isfinite().all()):
        raise ValueError(
            f"the samples of {one_line(prior)} are not finite: the network answers with NaN or ever larger values. "
            "Take another checkpoint, or smaller noise levels."
        )
    return x


def device_of(prior: Prior) -> torch.device:
    """Return the device of a prior's weights or buffers, and the CPU for a prior without any."""
    held = itertools.chain(prior.parameters(), prior.buffers()) if isinstance(prior, nn.Module) else iter(())
    first = next(held, None)
    return torch.device("cpu") if first is None else first.device
