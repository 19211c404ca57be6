"""Which implementation of an operation runs: the Triton kernel on CUDA, plain torch elsewhere.

The environment variable `SCOREREG_OPS` overrides it: `reference` runs plain torch everywhere, `triton` insists on the
kernels, which with `TRITON_INTERPRET=1` run, slowly, on the CPU. Float64 always goes to plain torch.
"""

import importlib.util
import os

import torch
from torch import Tensor

__all__ = ["check_triton", "use_triton"]

_STORED = (torch.float32, torch.float16, torch.bfloat16)


def use_triton(*tensors: Tensor) -> bool:
    """Whether the kernel runs on these tensors, all of them floating point.

    Raises:
        ValueError: If `SCOREREG_OPS` is neither `auto`, `reference` nor `triton`.
        RuntimeError: If it asks for a kernel that cannot run here.
    """
    choice = os.environ.get("SCOREREG_OPS", "auto")
    if choice not in ("auto", "reference", "triton"):
        raise ValueError(f"SCOREREG_OPS must be auto, reference or triton, but is {choice!r}.")
    if choice == "triton":
        check_triton("SCOREREG_OPS=triton", "Unset it", *tensors)
    return choice == "triton" or (choice == "auto" and all(t.is_cuda for t in tensors) and _can_run(*tensors))


def check_triton(setting: str, remedy: str, *tensors: Tensor) -> None:
    """Refuse a setting that asks for kernels where they cannot run.

    Raises:
        RuntimeError: If Triton is not installed, or the tensors are not what its kernels take.
    """
    if not _can_run(*tensors):
        given = ", ".join(f"{t.dtype} on {t.device}" for t in tensors)
        raise RuntimeError(
            f"{setting} needs Triton and CUDA tensors of float32, float16 or bfloat16, but got {given}. "
            f"{remedy}, or set TRITON_INTERPRET=1 to run the kernels, slowly, on the CPU."
        )


def _can_run(*tensors: Tensor) -> bool:
    reachable = all(t.is_cuda for t in tensors) or os.environ.get("TRITON_INTERPRET") == "1"
    return reachable and all(t.dtype in _STORED for t in tensors) and importlib.util.find_spec("triton") is not None
