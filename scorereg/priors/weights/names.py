"""Names of the tensors in a checkpoint, without the marks that training leaves in them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["plain_name", "plain_names"]

# Of torch.compile, DataParallel and DistributedDataParallel, FSDP, activation checkpointing, and Lightning's Fabric.
WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"})
_DEEPEST = 6
_MOST = 1_000_000


def plain_name(name: str) -> str:
    """Return a dotted name without the names of wrappers."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def plain_names(content: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Return the tensors of nested dictionaries under one dotted name each, without the names of wrappers.

    `{"ema": {"module.ema_model._orig_mod.betas": t}}` becomes `{"ema.ema_model.betas": t}`. Whatever has no name of
    text, such as the state of an optimizer, is left out.

    Raises:
        ValueError: If two different tensors get one name, or there are more than a million.
    """
    found: dict[str, Tensor] = {}
    _collect(content, (), (), found)
    return found


def _collect(
    content: Mapping[Any, Any], path: tuple[str, ...], above: tuple[int, ...], found: dict[str, Tensor]
) -> None:
    if id(content) in above or len(above) == _DEEPEST:  # a file may hold a dictionary that holds itself
        return
    for key, value in content.items():
        if not isinstance(key, str):
            continue
        name = (*path, *(part for part in key.split(".") if part not in WRAPPERS))
        if isinstance(value, Mapping):
            _collect(value, name, (*above, id(content)), found)
        elif isinstance(value, Tensor):
            _add(".".join(name), value, found)


def _add(name: str, value: Tensor, found: dict[str, Tensor]) -> None:
    same = found.setdefault(name, value)
    if same is not value and (same.shape != value.shape or not torch.equal(same, value)):
        raise ValueError(f"two different tensors are called {name}; save one network alone")
    if len(found) > _MOST:
        raise ValueError(f"more than {_MOST:,} tensors")
