r"""Priors over the latents of an autoencoder, with a transform from colours to latents and back.

    rgb        b 3 h w, in [0, 1]
    latent z   b c h/8 w/8, the prior's space: the encoder's output, shifted and scaled as in training

`prior.transform` encodes colours: `loss(prior.transform(rgb), sigma)`. Autograd differentiates the encoder and no other
network.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scorereg.priors.adapters.diffusers import check_network, prior_of_network
from scorereg.priors.adapters.unwrapped import inner_module
from scorereg.priors.adapters.wrapped import WrappedPrior

__all__ = ["AUTOENCODERS", "Latents", "latent_channels", "prior_of_latents"]

AUTOENCODERS = ("AutoencoderKL", "VQModel")


class Latents(nn.Module):
    r"""Transform of colours to the latents of an autoencoder, differentiable to the colours.

    $$ z = (\mu(2\,\mathrm{rgb} - 1) - \mathrm{shift}) \cdot \mathrm{scale} $$

    It uses the mean of a variational encoder instead of a sample, so that the latent is a function of the colours, and
    the output of a VQ model's encoder before it is quantised.

    Args:
        vae: An `AutoencoderKL` or `VQModel` of diffusers, whose configuration has shift and scale.
    """

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae
        self.scale = vae.config.scaling_factor
        self.shift = vae.config.get("shift_factor") or 0.0

    def forward(self, rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c hz wz"]:
        """Return the latents, in the dtype of the colours."""
        code = self.vae.encode((2 * rgb - 1).to(self.vae.dtype))
        latents = code.latents if hasattr(code, "latents") else code.latent_dist.mean
        return (latents.to(rgb.dtype) - self.shift) * self.scale

    def inverse(self, latents: Float[Tensor, "b c hz wz"]) -> Float[Tensor, "b 3 h w"]:
        """Return the decoded colours, in [0, 1] up to the decoder's error."""
        out = self.vae.decode((latents / self.scale + self.shift).to(self.vae.dtype)).sample
        return (out.to(latents.dtype) + 1) / 2


def latent_channels(count: int) -> tuple[str, ...]:
    """Return names for channels of latents: latent_0, latent_1, ..."""
    return tuple(f"latent_{i}" for i in range(count))


def prior_of_latents(
    network: Any,
    settings: Mapping[str, Any],
    decoder: Any,
    *,
    name: str,
    device: str | torch.device,
    autocast: bool,
) -> WrappedPrior:
    """Make a prior over latents of an unconditional U-Net of diffusers and the autoencoder of its pipeline.

    Args:
        network: A `UNet2DModel`.
        settings: Arguments of `wrap` for its noise and prediction.
        decoder: An `AutoencoderKL` or `VQModel`.
        name: Name in the card and in errors.
        device: Device of both networks.
        autocast: Run the network in bfloat16 where torch's autocast does.

    Raises:
        ValueError: If the autoencoder is of another class, or its latents are not what the network takes.
    """
    decoder, network = inner_module(decoder), check_network(network, name)
    kind = type(decoder).__name__
    if kind not in AUTOENCODERS:
        raise ValueError(
            f"{name} denoises latents of a {kind}; supported are those of {', '.join(AUTOENCODERS)}. Wrap the network "
            "with scorereg.wrap, for latents that you encode."
        )
    inside = network.config.in_channels
    own = (decoder.config.get("vq_embed_dim") if kind == "VQModel" else None) or decoder.config.latent_channels
    if inside != own:
        raise ValueError(f"{name} denoises {inside} channels, but its {kind} has latents of {own}. Use scorereg.wrap.")
    decoder = decoder.to(device).eval().requires_grad_(False)
    prior = prior_of_network(
        network, settings, name=name, channels=latent_channels(inside), size=None, d_min=None, data_range=(-1.0, 1.0),
        card=None, device=device, autocast=autocast,
    )  # fmt: skip
    prior.transform = Latents(decoder)
    notes = (f"latents of a {kind} times {prior.transform.scale:g}: prior.transform encodes colours in [0, 1]",)
    prior.card = dataclasses.replace(prior.card, assumed=(*prior.card.assumed, *notes))
    return prior
