r"""Losses of a batch, as modules that hold the network.

    edm       D = c_skip x + c_out F(c_in x, ln(sigma) / 4), or with a linear denoiser in place of c_skip x
              L = mean of (D(x + sigma n, sigma) - x)^2 / c_out^2
              Karras et al. 2022 (arXiv 2206.00364), table 1 and section 5
    epsilon   L = mean of |eps(sqrt(abar_t) x + sqrt(1 - abar_t) n, t) - n|
              Ho et al. 2020, cosine betas of Nichol and Dhariwal 2021; as DiffusioNeRF (arXiv 2302.12231)

The mean is over known values only. Noise and levels are arguments, as they depend on the step and not on the process.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from scorereg.priors.adapters.conversions import cosine_betas
from scorereg.priors.card import PriorCard
from scorereg.priors.networks.edm import NetworkPrior

__all__ = ["TABLE", "EdmLoss", "EpsLoss", "draw_known", "loss_weights"]

TABLE = 1000  # steps of the cosine betas
_KNOWN = 0.75  # fraction of patches with known channels; the others train the joint distribution


class EdmLoss(nn.Module):
    """Weighted squared error of a preconditioned denoiser.

    Args:
        network: A U-Net.
        card: Card of the prior.
        half: Half precision of the network; None is float32.
    """

    def __init__(self, network: nn.Module, card: PriorCard, half: torch.dtype | None) -> None:
        super().__init__()
        self.prior = NetworkPrior(network, card, autocast=half or False)

    @property
    def network(self) -> nn.Module:
        """The network that is trained."""
        return self.prior.network

    def forward(
        self,
        x: Float[Tensor, "b c *space"],
        weight: Float[Tensor, "b c *space"],
        noise: Float[Tensor, "b c *space"],
        level: Float[Tensor, " b"],
        known: Bool[Tensor, "..."] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch; `level` is sigma, and known values have no noise and no part in the loss."""
        sigma = _per_patch(level, x)
        weight = loss_weights(weight, known)
        if known is not None:
            noise = noise * ~known
        error = (self.prior(x + sigma * noise, level, known) - x).square()
        return _mean(error / self.prior.error_scale(x, level).square(), weight)


class EpsLoss(nn.Module):
    """Absolute error of predicted noise under cosine betas.

    Args:
        network: A U-Net.
        card: Not used.
        half: Half precision of the network; None is float32.
    """

    alphas_cumprod: Tensor

    def __init__(self, network: nn.Module, card: PriorCard, half: torch.dtype | None) -> None:
        super().__init__()
        self.network = network
        self.half_dtype = half
        self.register_buffer("alphas_cumprod", (1 - cosine_betas(TABLE)).cumprod(0), persistent=False)

    def forward(
        self,
        x: Float[Tensor, "b c *space"],
        weight: Float[Tensor, "b c *space"],
        noise: Float[Tensor, "b c *space"],
        level: Float[Tensor, " b"],
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch; `level` is the index t, a whole number."""
        abar = self.alphas_cumprod[level.long()]
        a, b = (_per_patch(part.sqrt().to(x.dtype), x) for part in (abar, 1 - abar))
        z = a * x + b * noise
        if z.ndim == 4:
            z = z.contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, self.half_dtype or torch.bfloat16, enabled=self.half_dtype is not None):
            predicted = self.network(z, level, return_dict=False)[0]
        return _mean((predicted.to(x.dtype) - noise).abs(), weight)


def loss_weights(weight: Float[Tensor, "b c *space"], known: Bool[Tensor, "..."] | None = None) -> Tensor:
    """Return the weights of a loss's mean: `weight`, and 0 for known values."""
    return weight if known is None else weight * ~known


def draw_known(
    known: tuple[str, ...], channels: tuple[str, ...], count: int, generator: torch.Generator
) -> Bool[Tensor, "b c 1 1"]:
    """Draw which channels of each patch are given without noise: those of `known`, in three of four patches.

    Args:
        known: Names of the channels that may be known.
        channels: Names of all channels.
        count: Number of patches.
        generator: Source of the randomness.
    """
    chosen = torch.tensor([name in known for name in channels])
    return (torch.rand(count, 1, 1, 1, generator=generator) < _KNOWN) & chosen[:, None, None]


def _mean(error: Tensor, weight: Tensor) -> Tensor:
    return (error * weight).sum() / weight.sum().clamp_min(1)


def _per_patch(level: Tensor, x: Tensor) -> Tensor:
    return level.reshape(-1, *[1] * (x.ndim - 1))
