"""What `wrap` can call: whether a network takes z and t and nothing else, and what to bind if it needs more."""

import functools
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from scorereg.priors.adapters.mistaken import mistaken
from scorereg.priors.adapters.unwrapped import inner_module
from scorereg.priors.base import Prior

__all__ = ["check_callable"]

_TIMES = ("t", "time", "times", "timestep", "timesteps", "sigma", "sigmas", "noise_labels", "time_cond", "c_noise")
_TEXTS = ("encoder_hidden_states", "context", "text_embeds")
_CLASSES = ("class_embed_type", "num_class_embeds", "num_embeds_ada_norm")  # settings of diffusers
_PLACES = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def check_callable(network: Any, data_range: Any = None) -> None:
    """Check that an object can be called as `network(z, t)`, and that what it is conditioned on is bound.

    Args:
        network: What `wrap` was given.
        data_range: The range that was given with it, None if none.

    Raises:
        ValueError: If not, with the call that is meant.
    """
    kind = type(network).__name__
    if isinstance(network, Prior) and not isinstance(network, type):
        raise ValueError(f"wrap got a {kind}, which is a prior already. Use it as it is.")
    if (text := mistaken(network)) is not None:
        raise ValueError(f"wrap takes a network, but got {text}.")
    network = inner_module(network)
    if isinstance(network, nn.Module) and getattr(network.forward, "__name__", "") == "_forward_unimplemented":
        raise ValueError(f"wrap got a {type(network).__name__} without a method forward. Give one that can be called.")
    _check_library(network, data_range)
    if (label := _label(network)) is not None:
        raise ValueError(
            f"{type(network).__name__} is conditioned on a class. Bind one: wrap(lambda z, t: network(z, t, "
            f"{label}=torch.full((len(z),), 3)), ...)."
        )
    try:
        parameters = tuple(inspect.signature(_function(network)).parameters.values())
    except (TypeError, ValueError):
        return  # built in, or compiled: calling it tells
    _check_parameters(type(network).__name__, parameters)


def _function(network: Any) -> Any:
    """What has the parameters of a call."""
    if isinstance(network, nn.Module) and type(network).__call__ is nn.Module.__call__:
        if type(network).__module__.startswith("torch.jit"):
            raise TypeError
        return network.forward
    return network


def _check_library(network: Any, data_range: Any) -> None:
    """Refuse objects of libraries that are known, whose call means something else."""
    kind, place = type(network).__name__, type(network).__module__.split(".")[0]
    if place == "denoising_diffusion_pytorch" and hasattr(network, "betas") and hasattr(network, "model"):
        raise ValueError(
            f"wrap got a {kind}, whose call is its loss in training. Give it to load_prior(diffusion), which reads "
            "its noise; or its network, diffusion.model."
        )
    made = kind == "_Denoiser" and type(network).__module__ == "scorereg.priors.adapters.deepinv"
    if data_range is None and made:
        raise ValueError("wrap got a denoiser that as_deepinv made of a prior. Use that: denoiser.prior.")
    owner = getattr(network, "func", network)  # of a functools.partial, and of a bound method
    owner = getattr(owner, "__self__", owner)
    if data_range is None and any(c.__module__.split(".")[0] == "deepinv" for c in type(owner).__mro__):
        raise ValueError(
            f"wrap got a {type(owner).__name__} of deepinv, whose images are in [0, 1]. Give it to "
            "load_prior(denoiser); or say data_range=(0, 1) with prediction='denoised'."
        )


def _label(network: Any) -> str | None:
    """The argument of a network's class; None if it has none."""
    config = getattr(network, "config", None)
    if isinstance(config, Mapping) and any(config.get(name) for name in _CLASSES):
        return "class_labels"
    if isinstance(network, functools.partial) or not isinstance(network, nn.Module):
        return None
    if isinstance(getattr(network, "label_dim", 0), int) and getattr(network, "label_dim", 0) > 0:  # EDM
        return "class_labels"
    if getattr(network, "num_classes", None) and hasattr(network, "label_emb"):  # OpenAI's
        return "y"
    return None


def _check_parameters(kind: str, parameters: Sequence[inspect.Parameter]) -> None:
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return
    by_place = [p for p in parameters if p.kind in _PLACES]
    names = [p.name for p in by_place]
    needed = [p.name for p in by_place[2:] if p.default is p.empty]
    needed += [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    time = next((p.name for p in parameters if p.name.lower() in _TIMES), None)
    if names[:1] and names[0].lower() in _TIMES and len(names) > 1 and names[1].lower() not in _TIMES:
        raise ValueError(
            f"wrap calls network(z, t), but the first argument of {kind} is {names[0]}. Turn them round: "
            "wrap(lambda z, t: network(t, z), ...)."
        )
    called = "network(z)" if time is None else f"network(z, {time}=t)"
    if len(by_place) < 2 and time is None:
        raise ValueError(
            f"wrap calls network(z, t), but {kind} takes {_count(len(by_place))}. If it denoises without a level: "
            f"wrap(lambda z, t: {called}, prediction='denoised', ...)."
        )
    if (time is not None and time not in names[:2] and names[1:2] != []) or len(by_place) < 2:
        second = names[1] if len(names) > 1 else "nothing"
        raise ValueError(
            f"wrap calls network(z, t), but the second argument of {kind} is {second} and its time is {time}. Bind "
            f"the rest: wrap(lambda z, t: network(z, {time}=t, ...), ...)."
        )
    if needed:
        bound = ", ".join(f"{name}=..." for name in needed)
        text = needed[0] in _TEXTS
        whole = "; or, for a StableDiffusionPipeline, load_prior(folder, prompt='...')" if text else ""
        raise ValueError(
            f"wrap calls network(z, t), but {kind} needs {', '.join(needed)} as well. Bind it: "
            f"wrap(lambda z, t: network(z, t, {bound}), ...){whole}."
        )


def _count(number: int) -> str:
    return "one argument" if number == 1 else "no argument"
