"""Where in a checkpoint the U-Net of denoising-diffusion-pytorch lies, and the buffers of the diffusion around it.

It may be a file of the package's Trainer (`model`, `ema`), of Lightning (`state_dict`), a state dict of the diffusion
or of the U-Net alone, or any nesting of these. The network is where its first convolution is, and the diffusion is what
is named above it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scorereg.priors.weights import plain_names

__all__ = ["FoundState", "find_unet"]

FIRST = "init_conv.weight"
_ONLINE = re.compile(r"(^|_)online(_|$)")
_AVERAGED = re.compile(r"(^|_)(ema|averaged|avg|swa|shadow)(_|\d|$)", re.IGNORECASE)


@dataclass(frozen=True)
class FoundState:
    """A network in a checkpoint.

    Args:
        where: The names above it, like `"ema.ema_model.model"`; empty at the top.
        averaged: Whether these names say that its weights are a moving average.
        weights: The network's tensors, by the network's own names.
        buffers: Tensors of the diffusion that it is part of, `betas` and others; empty if the file has none.
    """

    where: str
    averaged: bool
    weights: dict[str, Tensor]
    buffers: dict[str, Tensor]


def find_unet(content: Mapping[Any, Any], path: Path) -> FoundState | None:
    """Return the network of a checkpoint, with averaged weights if there are any; None if there is no such network.

    Args:
        content: What the file holds.
        path: The file, for errors.

    Raises:
        ValueError: If there are several networks and no way to tell which is meant.
    """
    try:
        tensors = plain_names(content)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as a checkpoint: {error}.") from None
    places = [name.removesuffix(FIRST) for name in tensors if name == FIRST or name.endswith(f".{FIRST}")]
    found = [_state(place, tensors) for place in places]
    found = [state for state in found if state.averaged] or found
    found = [state for state in found if state.buffers] or found
    if len(found) > 1 and not all(_same(found[0].weights, state.weights) for state in found[1:]):
        names = ", ".join(state.where or "the top" for state in found)
        raise ValueError(
            f"{path} holds {len(found)} networks ({names}). Save the one that is meant alone: "
            "torch.save(diffusion.state_dict(), file)."
        )
    return found[0] if found else None


def _state(place: str, tensors: Mapping[str, Tensor]) -> FoundState:
    weights = {name.removeprefix(place): value for name, value in tensors.items() if name.startswith(place)}
    parts = place.split(".")[:-1]
    return FoundState(".".join(parts), _averaged(parts), weights, _buffers(parts, tensors))


def _averaged(parts: list[str]) -> bool:
    """Whether the last name that speaks of averaging says that these are averaged weights."""
    for part in reversed(parts):
        if _ONLINE.search(part):
            return False
        if _AVERAGED.search(part):
            return True
    return False


def _buffers(parts: list[str], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors beside the nearest table of noise above a network; else those of the file's only table."""
    tables = {name.rpartition(".")[0] for name in tensors if name.rpartition(".")[2] in ("betas", "alphas_cumprod")}
    above = [".".join(parts[:count]) for count in range(len(parts), -1, -1)]
    near = [place for place in above if place in tables]
    chosen = near[:1] or (sorted(tables) if len({_table(place, tensors) for place in tables}) == 1 else [])
    inside = [name for name in tensors if chosen and name.rpartition(".")[0] == chosen[0]]
    return {name.rpartition(".")[2]: tensors[name] for name in inside}


def _table(place: str, tensors: Mapping[str, Tensor]) -> tuple[float, ...]:
    start = f"{place}." if place else ""
    table = tensors.get(f"{start}betas", tensors.get(f"{start}alphas_cumprod"))
    return () if table is None or table.numel() > 100_000 else tuple(table.flatten().tolist())


def _same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        one[name].shape == other[name].shape and torch.equal(one[name], other[name]) for name in one
    )
