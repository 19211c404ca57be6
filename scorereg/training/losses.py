r"""What a run minimises: one module for each recipe, whose `forward` is the loss of a batch.

    edm            D = c_skip x + c_out F(c_in x, ln(sigma) / 4),     ln sigma ~ N(mean, std^2)
                   L = mean of (sigma^2 + s^2) / (sigma s)^2 (D(x + sigma n, sigma) - x)^2
                   Karras et al. 2022 (arXiv 2206.00364), table 1 and section 5
    diffusionerf   L = mean of |eps(sqrt(abar_t) x + sqrt(1 - abar_t) n, t) - n|,     t uniform on 0 .. 999
                   Ho et al. 2020, cosine betas of Nichol and Dhariwal 2021; as DiffusioNeRF (arXiv 2302.12231)

The mean is over known values only. Noise and levels come in from outside, so that they belong to a step and not to a
process.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from scorereg.data.channels import channel_names
from scorereg.priors.adapters.conversions import cosine_betas
from scorereg.priors.card import PriorCard
from scorereg.priors.networks.edm import NetworkPrior
from scorereg.priors.networks.storage import SIGMA_DATA
from scorereg.training.card import _TABLE, network_for
from scorereg.training.settings import Settings

__all__ = ["EdmLoss", "EpsLoss", "draw_known", "draw_levels", "loss_weights", "make_loss"]

AUTOCAST_DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
_KNOWN = 0.75  # the rest keeps the joint distribution, for what no photo shows


class EdmLoss(nn.Module):
    """The weighted squared error of a preconditioned denoiser.

    Args:
        network: A U-Net.
        card: What it is trained for.
        half: Half precision of the network; None is float32.
    """

    def __init__(self, network: nn.Module, card: PriorCard, half: torch.dtype | None) -> None:
        super().__init__()
        self.prior = NetworkPrior(network, card, autocast=half or False)

    @property
    def network(self) -> nn.Module:
        """What is trained."""
        return self.prior.network

    def forward(
        self,
        x: Float[Tensor, "b c *space"],
        weight: Float[Tensor, "b c *space"],
        noise: Float[Tensor, "b c *space"],
        level: Float[Tensor, " b"],
        known: Bool[Tensor, "..."] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch; `level` is sigma, and what is known has no noise and no part in the loss."""
        sigma = _each(level, x)
        weight = loss_weights(weight, known)
        if known is not None:
            noise = noise * ~known
        error = (self.prior(x + sigma * noise, level, known) - x).square()
        error = (sigma.square() + SIGMA_DATA**2) / (sigma * SIGMA_DATA).square() * error
        return (error * weight).sum() / weight.sum().clamp_min(1)


class EpsLoss(nn.Module):
    """The absolute error of predicted noise, under cosine betas.

    Args:
        network: A U-Net.
        half: Half precision of the network; None is float32.
    """

    alphas_cumprod: Tensor

    def __init__(self, network: nn.Module, half: torch.dtype | None) -> None:
        super().__init__()
        self.network = network
        self.kind = half
        self.register_buffer("alphas_cumprod", (1 - cosine_betas(_TABLE)).cumprod(0), persistent=False)

    def forward(
        self,
        x: Float[Tensor, "b c *space"],
        weight: Float[Tensor, "b c *space"],
        noise: Float[Tensor, "b c *space"],
        level: Float[Tensor, " b"],
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch; `level` is the index t, a whole number."""
        alphas_cumprod = self.alphas_cumprod[level.long()]
        a, b = (_each(part.sqrt().to(x.dtype), x) for part in (alphas_cumprod, 1 - alphas_cumprod))
        z = a * x + b * noise
        if z.ndim == 4:
            z = z.contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, self.kind or torch.bfloat16, enabled=self.kind is not None):
            told = self.network(z, level, return_dict=False)[0]
        return ((told.to(x.dtype) - noise).abs() * weight).sum() / weight.sum().clamp_min(1)


def loss_weights(weight: Float[Tensor, "b c *space"], known: Bool[Tensor, "..."] | None = None) -> Tensor:
    """The weights that a loss's mean is over: what is given clean does not count."""
    return weight if known is None else weight * ~known


def make_loss(settings: Settings, card: PriorCard, precision: str) -> EdmLoss | EpsLoss:
    """Return the loss of a run with an untrained network, whose weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = network_for(card)
    if settings.checkpointing:
        network.enable_gradient_checkpointing()  # pyright: ignore[reportCallIssue]  # diffusers' and our own have it
    half = AUTOCAST_DTYPES[precision]
    return EpsLoss(network, half) if settings.recipe == "diffusionerf" else EdmLoss(network, card, half)


def draw_levels(settings: Settings, count: int, generator: torch.Generator) -> Float[Tensor, " b"]:
    """Return a noise level for each patch, as the recipe counts them: sigma, or an index."""
    if settings.recipe == "diffusionerf":
        return torch.randint(_TABLE, (count,), generator=generator).to(torch.float32)
    level = settings.sigma_mean + settings.sigma_std * torch.randn(count, generator=generator)
    return level.exp().clamp(*settings.sigma)


def draw_known(
    settings: Settings, channels: tuple[str, ...], count: int, generator: torch.Generator
) -> Bool[Tensor, "b c 1 1"]:
    """Return which channels of each patch are given clean: those of `settings.known`, in three of four."""
    chosen = torch.tensor([name in channel_names(settings.known) for name in channels])
    return (torch.rand(count, 1, 1, 1, generator=generator) < _KNOWN) & chosen[:, None, None]


def _each(level: Tensor, x: Tensor) -> Tensor:
    return level.reshape(-1, *[1] * (x.ndim - 1))
