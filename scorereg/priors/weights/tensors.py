"""Named tensors of a weight file, in safetensors or torch's format, and their shapes without reading them."""

import hashlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from scorereg.priors.weights.archive import check_name, check_start, read_content

__all__ = [
    "CHECKSUM",
    "check_finite",
    "check_finite_module",
    "checksum",
    "float_weights",
    "header_shapes",
    "is_safetensors",
    "metadata_of",
    "read_tensors",
]

CHECKSUM = "sha256"
"""Key of `checksum` in the metadata of a safetensors file that scorereg wrote."""

LARGEST = 1e8
HOLE = 12  # zeros in a row, which training does not leave among other weights


def is_safetensors(path: Path) -> bool:
    """Return whether a file is in the safetensors format, by its suffix or its first bytes."""
    if path.suffix == ".safetensors":
        return True
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") <= path.stat().st_size


def header_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a file's tensors by name; of a safetensors file only the header is read.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If it is damaged.
    """
    if not is_safetensors(path):
        return {name: tuple(value.shape) for name, value in read_tensors(path).items()}
    from safetensors import safe_open

    with _named(path), safe_open(path, "pt") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name; of a file of `torch.save` those at the top, or below `state_dict`.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If it is damaged or holds code.
    """
    if is_safetensors(path):
        from safetensors.torch import load_file

        with _named(path):
            state = load_file(path)
        told = metadata_of(path).get(CHECKSUM)
        if told is not None and told != checksum(state):
            raise ValueError(f"{path} is damaged: its weights are not those that were written. Copy it again.")
        return state
    content = read_content(path)
    inside = content.get("state_dict")
    content = inside if isinstance(inside, Mapping) else content
    return {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}


def metadata_of(path: Path) -> dict[str, str]:
    """Return what the header of a safetensors file says beside the tensors.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If it is damaged.
    """
    from safetensors import safe_open

    with _named(path), safe_open(path, "pt") as file:
        return file.metadata() or {}


def float_weights(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return weights as contiguous float32 tensors of their own memory, after a check.

    Raises:
        ValueError: If a tensor is quantised, has more values than the file has bytes, or a value that is not finite.
    """
    count = sum(value.numel() for value in state.values())
    if count > path.stat().st_size:  # expanded views of few stored numbers
        raise ValueError(f"{path} names {count:,} weights, more than it has bytes. Copy or download it again.")
    converted = {}
    for name, value in state.items():
        if value.is_quantized or value.layout != torch.strided or value.is_complex() or value.is_meta:
            raise ValueError(f"{path}: the weight {name} is no plain tensor. Save the weights as float32.")
        if not value.is_floating_point() and value.numel() > 1:
            raise ValueError(f"{path}: the weight {name} is of {value.dtype}, quantised. Save the weights as float32.")
        converted[name] = check_finite(value.detach().to(torch.float32, copy=True).contiguous(), name, path)
        _warn_of_hole(converted[name], name, path)
    return converted


def check_finite(value: Tensor, name: str, path: Path) -> Tensor:
    """Return a weight, after a check that its values are numbers that a network can have.

    Raises:
        ValueError: If one is NaN, infinite, or beyond 1e8.
    """
    bad = value.numel() - int((value.abs() < LARGEST).sum())
    if bad:
        where = f"{path}: {bad} of {value.numel()} values of {name} are NaN, infinite, or beyond {LARGEST:g}"
        raise ValueError(f"{where}: the training diverged, or the file is damaged. Take an earlier checkpoint.")
    return value


def check_finite_module(module: torch.nn.Module, name: str) -> None:
    """Check that the weights of a module in memory are numbers; those on the meta device, or quantised, are not seen.

    Raises:
        ValueError: If one is NaN or infinite.
    """
    for key, value in module.named_parameters():
        if is_lazy(value) or not value.is_floating_point() or value.is_meta or value.layout != torch.strided:
            continue
        if not bool(value.detach().isfinite().all()):
            raise ValueError(
                f"the weights {key} of {name} are not finite: its training diverged, or its file was damaged. Load an "
                "earlier checkpoint into it."
            )


def _warn_of_hole(value: Tensor, name: str, path: Path) -> None:
    """Warn of a row of zeros among other weights, as a copy that broke off leaves it."""
    zero = value.flatten() == 0
    count = int(zero.sum())
    if not HOLE <= count <= zero.numel() // 2:
        return
    ends = torch.nn.functional.pad(zero.to(torch.int8), (1, 1)).diff().nonzero().flatten().reshape(-1, 2)
    longest = int((ends[:, 1] - ends[:, 0]).max())
    if longest >= HOLE:
        warnings.warn(
            f"{path}: {longest} zeros in a row among the weights of {name}: the file may have a hole. Compare it with "
            "its source.",
            stacklevel=2,
        )


def checksum(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of tensors by name, in hexadecimal."""
    total = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        total.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        total.update(value.flatten().view(torch.uint8).numpy().data)
    return total.hexdigest()


class _named:
    """Context in which errors of safetensors name the file, on one line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        if not self.path.is_file():
            raise FileNotFoundError(f"{self.path} is missing. Copy the whole folder again.")
        check_start(self.path)
        check_name(self.path)

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, OSError) or not isinstance(error, Exception):
            return
        line = " ".join(str(error).split())[:160] or type(error).__name__
        raise ValueError(
            f"{self.path} is damaged or no safetensors file ({line}). Copy or download it again."
        ) from None
