"""Conversion of arrays of any library to torch tensors and back by DLPack, without an import of the library.

NumPy, JAX, CuPy, Dr.Jit (used by Mitsuba) and torch support DLPack. Arrays stay on their device. Only NumPy arrays,
which may be read-only, reversed or of another byte order, are copied.
"""

import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["as_kind_of", "as_tensor"]


def as_tensor(array: Any, name: str = "array") -> Tensor:
    """Return an array as a tensor on the same device, without a graph.

    Args:
        array: A torch tensor, a NumPy array, or anything with `__dlpack__`.
        name: Name of the argument in errors.

    Raises:
        ValueError: If it is not an array, or torch does not support its type.
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
    """Return a tensor as an array of the library of `array`, on the tensor's device.

    Uses `from_dlpack` of the array API standard (`array.__array_namespace__`), else that of the library's top module,
    else the constructor of the array's type, as for Dr.Jit.
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
