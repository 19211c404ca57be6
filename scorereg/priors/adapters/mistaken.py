"""Objects that are given in place of a network or a scheduler, and the call that is meant."""

import os
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from scorereg.priors.base import Prior

__all__ = ["is_averages", "is_scheduler", "mistaken"]

_NETWORKS = ("unet", "transformer", "model", "prior", "denoiser")
_ORDER = "the network comes first: scorereg.priors.from_diffusers(unet, scheduler)"


def is_scheduler(value: Any) -> bool:
    """Return whether an object is a scheduler of diffusers, or of its kind."""
    return not isinstance(value, nn.Module) and hasattr(value, "config") and hasattr(value, "set_timesteps")


def is_averages(value: Any) -> bool:
    """Return whether an object holds averaged weights and no network, as diffusers' EMAModel."""
    return not isinstance(value, nn.Module) and hasattr(value, "shadow_params") and hasattr(value, "copy_to")


def mistaken(value: Any) -> str | None:
    """Return what an object is that is no network, and which call is meant, for an error; None if it may be one.

    Args:
        value: What was given in place of a network.
    """
    kind = type(value).__name__
    if value is None:
        return "None. Give the network, an object that is called as network(z, t)"
    if isinstance(value, str | os.PathLike):
        return f"the name {os.fspath(value)!r}. Files, folders and hub ids are read by load_prior({os.fspath(value)!r})"
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{kind}. A path is given as text, os.fsdecode(path); the content of a file as the file's path"
    if hasattr(value, "read") and hasattr(value, "seek") and not callable(value):
        return f"an open file ({kind}). Give its path"
    if isinstance(value, type):
        return f"the class {value.__name__}. Give an object of it, with its weights: {value.__name__}(...)"
    if is_averages(value):
        return (
            f"a {kind}, which holds averaged weights and no network. Put them into one, "
            "ema.copy_to(unet.parameters()), and give that: unet"
        )
    if is_scheduler(value):
        return f"a {kind}, which is a scheduler; {_ORDER}"
    return _container(value, kind)


def _container(value: Any, kind: str) -> str | None:
    """What an object is that holds a network or weights among other things."""
    if isinstance(value, Mapping):
        if value and all(isinstance(part, Tensor) for part in value.values()):
            return f"a {kind} of weights without their network. Fill it, network.load_state_dict(state), and give that"
        return f"a {kind} with {', '.join(map(str, list(value)[:4])) or 'nothing'}. Give the network itself"
    if isinstance(value, list | tuple):
        if len(value) == 2 and is_scheduler(value[1]):
            return (
                f"a {kind} of a network and a scheduler. Give them to scorereg.priors.from_diffusers(unet, scheduler)"
            )
        if value and all(isinstance(part, Prior) for part in value):
            return f"a {kind} of priors. Multiply them: ProductPrior(priors)"
        return f"a {kind}. Give one network"
    if isinstance(value, Tensor):
        return "a tensor. Give the network itself"
    if not callable(value) and getattr(value, "ema", None) is not None and hasattr(value, "ds"):
        return f"a {kind}, a trainer. Give its averaged model: load_prior(trainer.ema.ema_model)"
    named = next((name for name in _NETWORKS if getattr(value, name, None) is not None), None)
    if named and getattr(value, "scheduler", None) is not None and not isinstance(value, nn.Module):
        cure = "load_prior(pipeline)" if named == "unet" else f"wrap(lambda z, t: pipeline.{named}(...), ...)"
        return f"a {kind}, a pipeline. Give it to {cure}"
    return None if callable(value) else f"a {kind}, which cannot be called. Give a network"
