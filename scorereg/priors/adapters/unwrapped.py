"""The network inside the wrappers that training puts around it."""

from typing import Any

from torch import nn

__all__ = ["check_loaded", "inner_module"]

# The attribute in which each wrapper keeps the module, by the wrapper's class and the start of its module's name.
INSIDE = {
    ("OptimizedModule", "torch."): "_orig_mod",
    ("DataParallel", "torch."): "module",
    ("DistributedDataParallel", "torch."): "module",
    ("FullyShardedDataParallel", "torch."): "module",
    ("AveragedModel", "torch."): "module",
    ("CheckpointWrapper", "torch."): "_checkpoint_wrapped_module",
    ("DeepSpeedEngine", "deepspeed."): "module",
    ("_FabricModule", "lightning"): "module",
    ("EMA", "ema_pytorch"): "ema_model",
}


def inner_module(module: Any) -> Any:
    """Return the module inside `torch.compile`, DataParallel, DDP, FSDP, averages and their like, at any depth.

    Args:
        module: Any object; anything but such a wrapper is returned as it is.

    Example:
        >>> import torch
        >>> from scorereg.priors.adapters.unwrapped import inner_module
        >>> network = torch.nn.Linear(1, 1)
        >>> inner_module(torch.nn.DataParallel(torch.nn.DataParallel(network))) is network
        True
    """
    for kind in type(module).__mro__:
        for (name, start), attribute in INSIDE.items():
            if kind.__name__ == name and kind.__module__.startswith(start):
                return inner_module(getattr(module, attribute))
    return module


def check_loaded(network: nn.Module) -> None:
    """Check that a network has numbers, which it lacks on torch's device `meta`.

    Raises:
        ValueError: If a parameter or buffer has none.
    """
    if any(values.is_meta for values in (*network.parameters(), *network.buffers())):
        raise ValueError(
            f"the weights of {type(network).__name__} are not loaded: it is on the device meta. Load them first, "
            "network.load_state_dict(state, assign=True); with diffusers or transformers, low_cpu_mem_usage=False."
        )
