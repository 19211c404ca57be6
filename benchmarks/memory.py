"""How many bytes tensors hold at once, counted by a dispatch mode; the workspace inside an operation is not seen."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["most_bytes"]


def most_bytes(run: Callable[[], None]) -> int:
    """Return the most bytes that a run holds at once, of the tensors that it makes; the meta device will do."""
    with _Live() as live:
        run()
    return live.most


class _Live(TorchDispatchMode):
    """Counts the bytes of the tensors that operations make, and the most that were there at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        before = {_pointer(t) for t in pytree.tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        for tensor in pytree.tree_leaves(out):
            if isinstance(tensor, torch.Tensor) and _pointer(tensor) not in before | self.seen:
                storage, pointer = tensor.untyped_storage(), _pointer(tensor)
                self.seen.add(pointer)
                self.now += storage.nbytes()
                weakref.finalize(storage, self._free, pointer, storage.nbytes())
        self.most = max(self.most, self.now)
        return out

    def _free(self, pointer: int, size: int) -> None:
        self.seen.discard(pointer)
        self.now -= size


def _pointer(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata
