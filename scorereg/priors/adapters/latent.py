r"""Text-conditioned latent diffusion models (Stable Diffusion) as priors over latents, as in DreamFusion.

`prior.transform` encodes colours, see `latents`. Guidance is classifier-free (Ho and Salimans 2022, arXiv 2207.12598),
with scale s:

    out = out(z, empty) + s (out(z, prompt) - out(z, empty))
"""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scorereg._io import read_json
from scorereg.priors.adapters.diffusers_layout import MODEL_INDEX, parts_of
from scorereg.priors.adapters.diffusers_parts import SCHEDULER, read_scheduler, refuse_code
from scorereg.priors.adapters.diffusers_pipelines import check_scheduler_of_index, cure_of_pipeline
from scorereg.priors.adapters.foreign_folders import warn_of_adapter
from scorereg.priors.adapters.latent_texts import check_texts, encode_text
from scorereg.priors.adapters.latents import Latents, latent_channels
from scorereg.priors.adapters.schedulers import scheduler_settings
from scorereg.priors.adapters.unwrapped import inner_module
from scorereg.priors.adapters.wrapped import WrappedPrior, wrap
from scorereg.priors.weights import check_filled, find_weights, header_shapes

__all__ = ["check_part", "from_text_pipeline", "is_text_folder", "load_text_pipeline"]

PIPELINE = "StableDiffusionPipeline"
PARTS = ("unet", "scheduler", "vae", "text_encoder", "tokenizer")


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
        raise ValueError(
            f"a text-conditioned {kind} is not supported; supported is {PIPELINE}. {cure_of_pipeline(kind)}"
        )
    check_texts(PIPELINE, prompt, guidance, negative_prompt)
    noise = scheduler_settings(pipeline.scheduler)
    parts = (inner_module(getattr(pipeline, part)) for part in ("unet", "vae", "text_encoder"))
    unet, vae, encoder = (part.to(device).eval().requires_grad_(False) for part in parts)
    texts = {"negative_prompt": negative_prompt, "prompt": prompt}
    empty, wanted = (encode_text(pipeline.tokenizer, encoder, text, name) for name, text in texts.items())
    count, side = unet.config.in_channels, unet.config.sample_size
    if count != vae.config.latent_channels:
        raise ValueError(
            f"the unet of this {kind} takes {count} channels and its vae has latents of {vae.config.latent_channels}: "
            "it is conditioned on an image, as for inpainting, which is not supported."
        )
    prior = wrap(
        _Guided(unet, empty, wanted, float(guidance)),
        channels=latent_channels(count),
        size=(side, side) if isinstance(side, int) else tuple(side),
        data_range=(-1.0, 1.0),
        **noise,
    )
    prior.transform = Latents(vae)
    notes = (f"latents times {prior.transform.scale:g}: prior.transform encodes colours in [0, 1]",)
    prior.card = dataclasses.replace(prior.card, name=kind, architecture=f"diffusers {kind}", assumed=notes)
    return prior


def is_text_folder(folder: Path) -> bool:
    """Return whether a folder is a pipeline's with a text encoder."""
    return (folder / MODEL_INDEX).is_file() and "text_encoder" in parts_of(folder)


def check_part(folder: Path) -> None:
    """Check that a folder is no part of a text-to-image pipeline, which has to be given as a whole.

    Raises:
        ValueError: If it is one, with the call for the pipeline.
    """
    whole = folder.resolve().parent
    if folder.is_dir() and is_text_folder(whole) and folder.resolve().name in parts_of(whole):
        raise ValueError(
            f"{folder} is a part of a pipeline conditioned on a text. Give its folder and the text: "
            f"load_prior({str(whole)!r}, prompt='...')."
        )


def load_text_pipeline(
    folder: Path,
    *,
    prompt: str | None,
    guidance: float | int = 7.5,
    negative_prompt: str = "",
    device: str | torch.device = "cpu",
    variant: str | None = None,
) -> WrappedPrior:
    """Load the folder of a `StableDiffusionPipeline`; no code in it runs, and a pickle with code is refused.

    The variant of its weights is found if there is only one.

    Raises:
        ValueError: If it is another pipeline, cannot be read, or there is no prompt.
    """
    path = folder / MODEL_INDEX
    try:
        index = read_json(path, "Copy it again.")
        if (kind := index.get("_class_name")) != PIPELINE:
            raise ValueError(f"{path} is of a {kind}; supported is {PIPELINE}. {cure_of_pipeline(str(kind))}")
        sources = {index[part][0] for part in PARTS}
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{path} lists no text-to-image pipeline ({error}). Copy it again.") from None
    if _leads_out(index):
        raise ValueError(f"{path} names a part that is no folder beside it. Copy it again.")
    if not sources <= {"diffusers", "transformers"}:
        raise ValueError(f"{path} takes parts from {', '.join(sorted(map(str, sources)))}, which may hold code.")
    for part in (folder, *(folder / name for name in index if not name.startswith("_"))):
        refuse_code(part)
    check_texts(PIPELINE, prompt, guidance, negative_prompt)
    if missing := [name for name in PARTS if not (folder / name).is_dir()]:
        raise FileNotFoundError(
            f"{folder / missing[0]} is missing, a part that {path.name} names. Copy or download the whole folder again."
        )
    scheduler = read_scheduler(folder / "scheduler")
    told = index["scheduler"][1]
    check_scheduler_of_index(path, told, folder / "scheduler" / SCHEDULER, type(scheduler).__name__)
    try:
        scheduler_settings(scheduler)
    except ValueError as error:
        raise ValueError(f"{folder / 'scheduler' / SCHEDULER}: {error}") from None
    warn_of_adapter(folder)
    files = {name: find_weights(folder / name, variant) for name in ("unet", "vae", "text_encoder")}
    for found in files.values():
        for weights in found.paths:
            header_shapes(weights)  # names what is damaged or holds code
    try:
        from diffusers import StableDiffusionPipeline

        pipeline = StableDiffusionPipeline.from_pretrained(
            folder, local_files_only=True, safety_checker=None, feature_extractor=None, low_cpu_mem_usage=False,
            scheduler=scheduler, variant=files["unet"].variant or None,
        )  # fmt: skip
    except ImportError:
        raise ValueError("text-conditioned priors need transformers: pip install 'scorereg[text]'.") from None
    except Exception as error:  # the libraries below have no common type of error
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{folder} cannot be read as a {PIPELINE} ({reason}). Copy or download it again.") from None
    for name in ("unet", "vae"):
        check_filled(getattr(pipeline, name), files[name].paths)
    return from_text_pipeline(
        pipeline, prompt=prompt, guidance=guidance, negative_prompt=negative_prompt, device=device
    )


def _leads_out(names: Iterable[str]) -> bool:
    """Whether the name of a part is none of a folder beside it."""
    return any(Path(name).name != name for name in names)
