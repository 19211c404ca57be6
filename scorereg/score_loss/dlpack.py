"""Arrays of any library as torch tensors, and back in their own kind, by DLPack; no library is imported for it.

NumPy, JAX, CuPy, Dr.Jit (Mitsuba's) and torch itself speak it. Nothing leaves its device, and only NumPy arrays, which
may be read-only, reversed or of another byte order, are copied on their way in.
"""

import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["as_kind_of", "as_tensor"]


def as_tensor(array: Any, name: str = "array") -> Tensor:
    """Return the array as a tensor without a graph, on its own device.

    Args:
        array: A torch tensor, a NumPy array, or anything with `__dlpack__`.
        name: What the errors call it.

    Raises:
        ValueError: If it is no array, or one that torch cannot hold.
    """
    if isinstance(array, Tensor):
        return array.detach()
    try:
        if isinstance(array, np.ndarray):
            return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))
        if hasattr(array, "__dlpack__"):
            return torch.from_dlpack(array)
    except (AttributeError, TypeError, ValueError, RuntimeError, BufferError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"`{name}`, a {type(array).__name__}, cannot be read as a tensor: {reason} Give a plain array of numbers; "
            "under jax.jit or jax.grad, which hold none yet, call through jax.pure_callback."
        ) from None
    raise ValueError(
        f"`{name}` must be an array that speaks DLPack (torch, NumPy, JAX, CuPy, Dr.Jit ...), but it is a "
        f"{type(array).__name__}. For lists and numbers: numpy.asarray."
    )


def as_kind_of(array: Any, tensor: Tensor) -> Any:
    """Return the tensor as an array of the kind of another one, on the tensor's device.

    The kind's own `from_dlpack` does it, which the array API standard lets us ask the array for; where a library does
    not follow the standard, its module may have one; Dr.Jit's types are called with the tensor.
    """
    if isinstance(array, Tensor):
        return tensor
    if isinstance(array, np.ndarray):
        return tensor.cpu().numpy()
    tensor = tensor.contiguous()
    if hasattr(array, "__array_namespace__"):
        return array.__array_namespace__().from_dlpack(tensor)
    module = sys.modules[type(array).__module__.partition(".")[0]]
    return (module.from_dlpack if hasattr(module, "from_dlpack") else type(array))(tensor)
