r"""Text-conditioned latent diffusion models (Stable Diffusion) as priors over latents, as in DreamFusion.

    rgb        b 3 h w, in [0, 1]
    latent z   b c h/8 w/8, the prior's space: the encoder's mean, shifted and scaled as in training

`prior.transform` encodes colours: `loss(prior.transform(rgb), sigma)`. Autograd differentiates the encoder and no other
network. Guidance is classifier-free (Ho and Salimans 2022, arXiv 2207.12598), with scale s:

    out = out(z, empty) + s (out(z, prompt) - out(z, empty))
"""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scorereg._io import read_json
from scorereg.priors.adapters.diffusers import MODEL_INDEX, refuse_code, scheduler_settings
from scorereg.priors.adapters.wrapped import WrappedPrior, wrap

__all__ = ["Latents", "from_text_pipeline", "is_text_folder", "load_text_pipeline"]

PIPELINE = "StableDiffusionPipeline"
PARTS = ("unet", "scheduler", "vae", "text_encoder", "tokenizer")


class Latents(nn.Module):
    r"""Transform of colours to the latents of a variational autoencoder, differentiable to the colours.

    $$ z = (\mu(2\,\mathrm{rgb} - 1) - \mathrm{shift}) \cdot \mathrm{scale} $$

    It uses the encoder's mean instead of a sample, so that the latent is a function of the colours.

    Args:
        vae: An `AutoencoderKL` of diffusers, whose configuration has shift and scale.
    """

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae
        self.scale = vae.config.scaling_factor
        self.shift = vae.config.get("shift_factor") or 0.0

    def forward(self, rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c hz wz"]:
        """Return the latents, in the dtype of the colours."""
        mean = self.vae.encode((2 * rgb - 1).to(self.vae.dtype)).latent_dist.mean
        return (mean.to(rgb.dtype) - self.shift) * self.scale

    def inverse(self, latents: Float[Tensor, "b c hz wz"]) -> Float[Tensor, "b 3 h w"]:
        """Return the decoded colours, in [0, 1] up to the decoder's error."""
        out = self.vae.decode((latents / self.scale + self.shift).to(self.vae.dtype)).sample
        return (out.to(latents.dtype) + 1) / 2


class _Guided(nn.Module):
    """A text-conditioned network with guidance, its two texts bound, as a function of z and t."""

    texts: Tensor

    def __init__(self, unet: Any, empty: Tensor, prompt: Tensor, guidance: float) -> None:
        super().__init__()
        self.unet = unet
        self.guidance = guidance
        self.register_buffer("texts", torch.cat([empty, prompt]), persistent=False)

    def forward(self, z: Tensor, time: Tensor) -> Tensor:
        texts = self.texts[:, None].expand(-1, len(z), -1, -1).flatten(0, 1).to(z.dtype)
        if self.guidance == 1:
            return self.unet(z, time, encoder_hidden_states=texts[len(z) :]).sample
        both = self.unet(torch.cat([z, z]), torch.cat([time, time]), encoder_hidden_states=texts).sample
        empty, prompt = both.float().chunk(2)  # guidance multiplies the rounding error of the difference
        return empty + self.guidance * (prompt - empty)


def from_text_pipeline(
    pipeline: Any,
    *,
    prompt: str | None,
    guidance: float | int = 7.5,
    negative_prompt: str = "",
    device: str | torch.device = "cpu",
) -> WrappedPrior:
    """Make a prior over latents from a text-to-image pipeline; its `transform` encodes colours.

    Args:
        pipeline: A `StableDiffusionPipeline`; its networks are put into evaluation mode and moved.
        prompt: Description of the images, encoded once.
        guidance: Scale s of the guidance. 1 is the model of the prompt alone; DreamFusion uses 100.
        negative_prompt: Text in place of the empty one.
        device: Device of the networks.

    Raises:
        ValueError: If there is no prompt, or pipeline or scheduler are not supported.
    """
    kind = type(pipeline).__name__
    if kind != PIPELINE:
        raise ValueError(f"a text-conditioned {kind} is not supported; supported is {PIPELINE}.")
    if prompt is None:
        raise ValueError(f"a {PIPELINE} needs a text: load_prior(..., prompt='a photo of a chair', guidance=7.5).")
    unet, vae, encoder = (getattr(pipeline, part).to(device).eval() for part in ("unet", "vae", "text_encoder"))
    for module in (unet, vae, encoder):
        module.requires_grad_(False)
    empty, wanted = (_encode(pipeline.tokenizer, encoder, text) for text in (negative_prompt, prompt))
    count, side = unet.config.in_channels, unet.config.sample_size
    prior = wrap(
        _Guided(unet, empty, wanted, float(guidance)),
        channels=tuple(f"latent_{i}" for i in range(count)),
        size=(side, side) if isinstance(side, int) else tuple(side),
        **scheduler_settings(pipeline.scheduler),
    )
    prior.transform = Latents(vae)
    return prior


def is_text_folder(folder: Path) -> bool:
    """Return whether a folder is a pipeline's with a text encoder."""
    index = folder / MODEL_INDEX
    return index.is_file() and "text_encoder" in index.read_text(encoding="utf-8", errors="replace")


def load_text_pipeline(
    folder: Path, *, prompt: str | None, guidance: float | int, negative_prompt: str, device: str | torch.device
) -> WrappedPrior:
    """Load the folder of a `StableDiffusionPipeline`; no code in it runs, and a pickle with code is refused.

    Raises:
        ValueError: If it is another pipeline, cannot be read, or there is no prompt.
    """
    path = folder / MODEL_INDEX
    try:
        index = read_json(path, "Copy it again.")
        sources = {index[part][0] for part in PARTS}
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} lists no text-to-image pipeline ({error}). Copy it again.") from None
    if index.get("_class_name") != PIPELINE or not sources <= {"diffusers", "transformers"}:
        raise ValueError(f"{path} is of a {index.get('_class_name')}; supported is {PIPELINE}.")
    for part in (folder, *(folder / name for name in index if not name.startswith("_"))):
        refuse_code(part)
    try:
        from diffusers import StableDiffusionPipeline

        pipeline = StableDiffusionPipeline.from_pretrained(
            folder, local_files_only=True, safety_checker=None, feature_extractor=None, low_cpu_mem_usage=False
        )
    except ImportError:
        raise ValueError("text-conditioned priors need transformers: pip install 'scorereg[text]'.") from None
    except Exception as error:  # the libraries below have no common type of error
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{folder} cannot be read as a {PIPELINE} ({reason}). Copy or download it again.") from None
    return from_text_pipeline(
        pipeline, prompt=prompt, guidance=guidance, negative_prompt=negative_prompt, device=device
    )


@torch.no_grad()
def _encode(tokenizer: Any, encoder: Any, text: str) -> Tensor:
    tokens = tokenizer(
        text, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    )
    return encoder(tokens.input_ids.to(encoder.device))[0]
