"""Named tensors of a weight file, in safetensors or torch's format, and their shapes without reading them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scorereg.priors.weights.archive import read_content

__all__ = ["check_finite", "float_weights", "header_shapes", "is_safetensors", "read_tensors"]


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
            return load_file(path)
    content = read_content(path)
    inside = content.get("state_dict")
    content = inside if isinstance(inside, Mapping) else content
    return {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}


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
    return converted


def check_finite(value: Tensor, name: str, path: Path) -> Tensor:
    """Return a weight, after a check that it is finite.

    Raises:
        ValueError: If it is not.
    """
    bad = value.numel() - int(value.isfinite().sum())
    if bad:
        where = f"{path}: {bad} of {value.numel()} values of {name} are NaN or infinite"
        raise ValueError(f"{where}: the training diverged, or the file is damaged. Take an earlier checkpoint.")
    return value


class _named:
    """Context in which errors of safetensors name the file, on one line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        from scorereg.priors.weights.archive import check_start

        if not self.path.is_file():
            raise FileNotFoundError(f"{self.path} is missing. Copy the whole folder again.")
        check_start(self.path)

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, OSError) or not isinstance(error, Exception):
            return
        line = " ".join(str(error).split())[:160] or type(error).__name__
        raise ValueError(
            f"{self.path} is damaged or no safetensors file ({line}). Copy or download it again."
        ) from None
