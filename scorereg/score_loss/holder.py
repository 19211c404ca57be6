"""A module that holds denoisers apart from the tree of modules, so that what is done to a model is not done to them."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["DenoiserHolder", "first_weight"]

_HELD = ("prior", "control")


class DenoiserHolder(nn.Module):
    """A module whose `prior` and `control` stay as they were given, whatever becomes of the model that it is part of.

    They are plain attributes and no submodules. So a model's `train`, `half`, `apply`, `requires_grad_`, `parameters`
    and `state_dict` do not reach them; only a move to another device takes them along. Their weights are saved where
    they are asked for, by `loss.prior.state_dict()`.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _HELD:
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def __prepare_scriptable__(self) -> Any:
        """Refuse TorchScript, which asks this of every module before it compiles one."""
        raise ValueError(
            f"{type(self).__name__} cannot be scripted (torch.jit.script): it calls any denoiser, which TorchScript "
            "cannot. Script the renderer alone, or use torch.compile, which takes both."
        )

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        """Leave out weights of denoisers, which older versions saved with a model; a warning says so."""
        starts = tuple(f"{prefix}{name}." for name in _HELD)
        if held := [key for key in state_dict if key.startswith(starts)]:
            for key in held:
                del state_dict[key]
            warnings.warn(
                f"{len(held)} weights of a denoiser, such as {held[0]}, are left out: {type(self).__name__} keeps its "
                "prior apart. Load them by load_prior, or loss.prior.load_state_dict.",
                stacklevel=2,
            )
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Apply a change of a model's tensors; denoisers follow to another device, and keep dtype and values."""
        super()._apply(fn, recurse)
        for name in _HELD:
            denoiser: Any = getattr(self, name, None)
            weight = first_weight(denoiser)
            if weight is None or weight.is_meta:
                continue
            device = fn(torch.zeros((), device=weight.device)).device
            if device != weight.device and device.type != "meta":  # meta would drop the weights
                denoiser.to(device)
        return self


def first_weight(denoiser: Any) -> Tensor | None:
    """A floating-point weight of a denoiser that is a module, else None."""
    if not isinstance(denoiser, nn.Module):
        return None
    tensors = (tensor for found in (denoiser.parameters(), denoiser.buffers()) for tensor in found)
    return next((tensor for tensor in tensors if tensor.is_floating_point()), None)
