"""Models in memory as priors, by their class: pipelines, diffusions, denoisers."""

import inspect
from typing import Any

import torch
from torch import nn

from scorereg.priors.adapters.deepinv import from_deepinv, is_deepinv, prior_inside
from scorereg.priors.adapters.diffusers import MODELS, from_diffusers, prior_of_network
from scorereg.priors.adapters.diffusers_layout import DECODERS
from scorereg.priors.adapters.diffusers_pipelines import check_pipeline
from scorereg.priors.adapters.foreign_models import cure_of_model
from scorereg.priors.adapters.karras import from_denoiser
from scorereg.priors.adapters.mistaken import mistaken
from scorereg.priors.adapters.unwrapped import inner_module
from scorereg.priors.arguments import only
from scorereg.priors.base import Prior

__all__ = ["check_pair", "prior_of_object"]

_SAY = (
    "Give a pipeline, a folder, or a denoiser D(x, sigma); or say it: scorereg.wrap(network, prediction=..., "
    "betas=..., ...)."
)


_TIMES = ("t", "ts", "time", "times", "timestep", "timesteps", "time_step", "time_steps")


def check_pair(source: Any, device: Any) -> None:
    """Check that the second argument of `load_prior` is no scheduler or network.

    Raises:
        ValueError: If it is one, with the call for a pair.
    """
    if device is not None and not isinstance(device, str | int | torch.device):
        kinds = f"a {type(source).__name__} and a {type(device).__name__}"
        raise ValueError(
            f"load_prior(source, device) got {kinds}. For a network and its scheduler: "
            "scorereg.priors.from_diffusers(unet, scheduler)."
        )


def prior_of_object(source: Any, device: str | torch.device, given: dict[str, Any]) -> Any:
    """Return the prior of an object in memory.

    Args:
        source: A prior, a pipeline, a diffusion, or a denoiser; also inside `torch.compile` and its like.
        device: Device of its weights.
        given: Arguments of `load_prior` by name, None where not given.

    Raises:
        ValueError: If it is none of these, or an argument does not apply to it.
    """
    if isinstance(source, Prior):
        only("a prior in memory", given)
        return source
    source = inner_module(source)
    kind, place = type(source).__name__, type(source).__module__
    if (inside := prior_inside(source)) is not None:
        only("a prior in memory", given)
        return inside
    if hasattr(source, "text_encoder"):
        from scorereg.priors.adapters.latent import from_text_pipeline

        known = only(f"a {kind}", given, "prompt", "guidance", "negative_prompt")
        return from_text_pipeline(source, device=device, **{"prompt": None, **known})
    if hasattr(source, "unet") and hasattr(source, "scheduler"):
        return _of_pipeline(source, kind, device, given)
    if place.startswith("denoising_diffusion_pytorch"):
        from scorereg.priors.adapters.lucidrains_object import from_diffusion

        return from_diffusion(
            source, device=device, **only(f"a {kind}", given, "channels", "size", "d_min", "data_range")
        )
    if is_deepinv(source):
        return from_deepinv(source, device=device, **only(f"a deepinv {kind}", given, "channels", "size"))
    if (text := mistaken(source)) is not None:
        raise ValueError(f"load_prior got {text}.")
    if callable(source) and not hasattr(source, "config") and not _is_plain(source):
        _check_takes_sigma(source, kind, given)
        return from_denoiser(source, device=device, **only(f"a {kind}", given, "channels", "size", "data_range"))
    if kind in MODELS and given["betas"] is not None and given["prediction"] is not None:
        return _of_network(source, kind, device, given)
    models = cure_of_model(kind) if type(source).__module__.startswith(("diffusers.", "transformers.")) else ""
    raise ValueError(f"load_prior got a {kind}, which does not say how its noise is made. {models or _SAY}")


def _check_takes_sigma(source: Any, kind: str, given: dict[str, Any]) -> None:
    """Refuse what takes a time of a noise of its own, or whose noise the caller tells, in place of D(x, sigma)."""
    parameters = _positional(source)
    name = parameters[1] if len(parameters) > 1 else ""
    told = [key for key in ("prediction", "betas") if given.get(key) is not None]
    if name.lower() not in _TIMES and not told:
        return
    why = f"takes {name!r}, a time of its own noise," if name.lower() in _TIMES else f"comes with {' and '.join(told)},"
    raise ValueError(
        f"load_prior takes a denoiser D(x, sigma) in memory, but {kind} {why} and so predicts something else. Say it: "
        "scorereg.wrap(network, prediction=..., betas=..., channels=...); a denoiser: load_prior(lambda x, sigma: "
        "network(x, sigma), channels=...)."
    )


def _positional(source: Any) -> list[str]:
    """Names of the parameters that a call fills by place; none where they cannot be known."""
    try:
        found = inspect.signature(source.forward if isinstance(source, nn.Module) else source).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p.name for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def _of_pipeline(source: Any, kind: str, device: str | torch.device, given: dict[str, Any]) -> Any:
    check_pipeline("load_prior got", kind, type(source.scheduler).__name__)
    decoder = next((part for name in DECODERS if (part := getattr(source, name, None)) is not None), None)
    if decoder is not None:
        from scorereg.priors.adapters.latents import prior_of_latents
        from scorereg.priors.adapters.schedulers import scheduler_settings

        known = {"autocast": False, **only(f"a {kind}, a prior over latents", given, "autocast")}
        return prior_of_latents(
            source.unet, scheduler_settings(source.scheduler), decoder, name=kind, device=device, **known
        )
    known = only(f"a {kind}", given, "channels", "size", "d_min", "data_range", "autocast")
    return from_diffusers(source.unet, source.scheduler, name=kind, device=device, **known)


def _of_network(source: Any, kind: str, device: str | torch.device, given: dict[str, Any]) -> Any:
    """A network of diffusers whose noise the caller says."""
    known = only(
        f"a {kind}", given, "channels", "size", "d_min", "data_range", "autocast", "betas", "prediction"
    )  # fmt: skip
    settings = {name: known.pop(name) for name in ("prediction", "betas")}
    said = {"channels": None, "size": None, "d_min": None, "data_range": None, "autocast": False, **known}
    return prior_of_network(source, settings, name=kind, card=None, device=device, **said)


def _is_plain(source: Any) -> bool:
    """Whether an object is a class, or a layer or container of torch's own, which is no denoiser."""
    return isinstance(source, type) or (
        isinstance(source, nn.Module) and type(source).__module__.startswith("torch.nn")
    )
