"""Which implementation of an operation runs: the Triton kernel on CUDA, plain torch elsewhere.

The environment variable `SCOREREG_OPS` overrides it: `reference` runs plain torch everywhere, `triton` insists on the
kernels, which with `TRITON_INTERPRET=1` run, slowly, on the CPU. Float64 is the references' alone.
"""

import importlib.util
import os

import torch
from torch import Tensor

__all__ = ["use_triton"]

_STORED = (torch.float32, torch.float16, torch.bfloat16)


def use_triton(*tensors: Tensor) -> bool:
    """Whether the kernel is to run on these tensors, all of them floating point.

    Raises:
        ValueError: If `SCOREREG_OPS` is neither `auto`, `reference` nor `triton`.
        RuntimeError: If it asks for a kernel that cannot run here.
    """
    choice = os.environ.get("SCOREREG_OPS", "auto")
    if choice not in ("auto", "reference", "triton"):
        raise ValueError(f"SCOREREG_OPS must be auto, reference or triton, but is {choice!r}.")
    if choice == "reference":
        return False
    on_cuda = all(t.is_cuda for t in tensors)
    reachable = on_cuda or os.environ.get("TRITON_INTERPRET") == "1"
    possible = reachable and all(t.dtype in _STORED for t in tensors) and _installed()
    if choice == "triton" and not possible:
        given = ", ".join(f"{t.dtype} on {t.device}" for t in tensors)
        raise RuntimeError(
            "SCOREREG_OPS=triton needs Triton and CUDA tensors of float32, float16 or bfloat16, but got "
            f"{given}. Unset it, or set TRITON_INTERPRET=1 to run the kernels, slowly, on the CPU."
        )
    return possible and (on_cuda or choice == "triton")


def _installed() -> bool:
    return importlib.util.find_spec("triton") is not None
