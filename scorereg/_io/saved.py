"""The library's own files of `torch.save`: written whole, read whole or not at all, and held against what they fill.

A file of a run may be cut, changed or another's. What it holds is compared with the run that loads it before anything
is loaded: keys, types, shapes, finite numbers, and a checksum over all of it.
"""

import hashlib
import math
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scorereg._io import write_beside

__all__ = [
    "Damaged", "check_adam", "check_generator", "check_number", "check_tensors", "digest", "fill_adam", "has_nan",
    "read_saved", "saved_bytes", "write_saved",
]  # fmt: skip

_ADAM = ("step", "exp_avg", "exp_avg_sq")


class Damaged(ValueError):
    """A file that is not what was written; its text is the reason alone, without the file's name."""


def write_saved(path: Path, content: Any) -> None:
    """Write tensors, numbers and texts by `torch.save`; the file is whole or not there.

    Raises:
        OSError: If it cannot be written.
    """

    def write(beside: Path) -> None:
        with beside.open("wb") as file:  # torch.save tells no cause where it opens the file itself
            torch.save(content, file)

    write_beside(path, write)


def read_saved(path: Path) -> dict[str, Any]:
    """Read a dictionary of `write_saved`; no code is run, and no more memory is taken than the file is large.

    Raises:
        Damaged: If it is another file, or a checksum in it is wrong.
        OSError: If it cannot be opened.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise Damaged("it is no file")
    with path.open("rb"):
        pass
    try:
        with zipfile.ZipFile(path) as parts:  # torch's format, whose checksums torch.load does not check
            if any(part.compress_type != zipfile.ZIP_STORED for part in parts.infolist()):
                raise Damaged("it has compressed parts")
            if (wrong := parts.testzip()) is not None:
                raise Damaged(f"wrong checksum of {wrong}")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Damaged:
        raise
    except Exception as error:  # torch, pickle and zipfile have no common error for a damaged file
        line = (str(error).splitlines() or [""])[0][:160] or type(error).__name__
        raise Damaged("it names code, which is not run" if "Unsupported global" in str(error) else line) from None
    if not isinstance(content, dict):
        raise Damaged(f"it holds a {type(content).__name__}, not a run's state")
    return content


def check_number(value: Any, name: str, low: int, high: float | int = math.inf, *, whole: bool = False) -> None:
    """Check that a value is a finite number in a range.

    Raises:
        Damaged: If not.
    """
    kind = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not kind or not math.isfinite(value) or not low <= value <= high:
        raise Damaged(f"{name} is {str(value)[:40]}")


def check_tensors(given: Any, like: Mapping[str, Tensor], name: str) -> None:
    """Check that a state has the names, shapes and types of another, and finite numbers.

    Args:
        given: What a file holds.
        like: The state of what it is loaded into, which may be on the meta device.
        name: What it is, for the error.

    Raises:
        Damaged: If not.
    """
    if not isinstance(given, Mapping):
        raise Damaged(f"{name} is a {type(given).__name__}")
    if given.keys() != like.keys():
        odd = sorted(map(str, given.keys() ^ like.keys()))[0]
        raise Damaged(f"{name} has other tensors than this run, {odd} among them")
    for key, old in like.items():
        if isinstance(old, Tensor):
            _check_tensor(given[key], old.shape, old.dtype, f"{name}.{key}")


def _check_tensor(value: Any, shape: torch.Size, dtype: torch.dtype, name: str) -> None:
    if not isinstance(value, Tensor) or value.layout is not torch.strided or value.device.type != "cpu":
        raise Damaged(f"{name} is no tensor")
    if value.shape != shape or value.dtype != dtype:
        raise Damaged(f"{name} is {value.dtype} of {tuple(value.shape)}, not {dtype} of {tuple(shape)}")
    if not bool(value.isfinite().all()):
        raise Damaged(f"{name} is not finite")


def check_adam(given: Any, optimizer: torch.optim.Optimizer, steps: int, name: str = "optimizer") -> None:
    """Check that a state of Adam is one of an optimizer's parameters, after at most so many steps.

    Raises:
        Damaged: If not.
    """
    groups, state = (given.get(key) if isinstance(given, dict) else None for key in ("param_groups", "state"))
    if not isinstance(groups, list) or not isinstance(state, dict):
        raise Damaged(f"{name} is no state of Adam")
    own = optimizer.state_dict()["param_groups"]
    if [g.get("params") if isinstance(g, dict) else None for g in groups] != [g["params"] for g in own]:
        raise Damaged(f"{name} has other parameters than this run")
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for index, entry in state.items():
        if index not in range(len(parameters)) or not isinstance(entry, dict) or set(entry) != set(_ADAM):
            raise Damaged(f"{name} has other parameters than this run")
        one = parameters[index]
        for key in _ADAM[1:]:
            _check_tensor(entry[key], one.shape, one.dtype, f"{name}.{index}.{key}")
        _check_tensor(entry["step"], torch.Size(), torch.float32, f"{name}.{index}.step")
        check_number(entry["step"].item(), f"{name}.{index}.step", 0, steps)
        if bool((entry["exp_avg_sq"] < 0).any()):
            raise Damaged(f"{name}.{index}.exp_avg_sq is negative")


def fill_adam(optimizer: torch.optim.Optimizer, given: dict[str, Any]) -> None:
    """Load the moments of Adam; rates and other settings stay the optimizer's own."""
    optimizer.load_state_dict({"state": given["state"], "param_groups": optimizer.state_dict()["param_groups"]})


def check_generator(given: Any, like: torch.Generator) -> None:
    """Check that a tensor is a state of random numbers.

    Raises:
        Damaged: If not.
    """
    old = like.get_state()
    _check_tensor(given, old.shape, old.dtype, "the state of the random numbers")
    try:
        torch.Generator(like.device).set_state(given)
    except RuntimeError:
        raise Damaged("the state of the random numbers is none") from None


def has_nan(value: Any) -> bool:
    """Whether NaN is anywhere in nested tensors and numbers."""
    if isinstance(value, Mapping):
        return any(has_nan(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(has_nan(item) for item in value)
    if isinstance(value, Tensor):
        return bool(value.isnan().any())
    return isinstance(value, float) and math.isnan(value)


def digest(content: Any) -> str:
    """Return the SHA-256 of nested dictionaries, lists, tensors, numbers and texts, with their names and shapes."""
    found = hashlib.sha256()
    _feed(content, found)
    return found.hexdigest()


def _feed(value: Any, found: Any) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            found.update(f"[{key!r}".encode())
            _feed(item, found)
        found.update(b"}")
    elif isinstance(value, list | tuple):
        found.update(f"({len(value)}".encode())
        for item in value:
            _feed(item, found)
    elif isinstance(value, Tensor):
        found.update(f"<{value.dtype}{tuple(value.shape)}".encode())
        if value.layout is torch.strided:
            found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    elif isinstance(value, set | frozenset):
        found.update(repr(sorted(map(repr, value))).encode())
    else:
        found.update(repr(value).encode())


def saved_bytes(content: Any) -> int:
    """Return about how large a file of nested tensors is, in bytes."""
    if isinstance(content, Mapping):
        return sum(saved_bytes(item) for item in content.values()) + 100 * len(content)
    if isinstance(content, list | tuple):
        return sum(saved_bytes(item) for item in content)
    return content.numel() * content.element_size() + 300 if isinstance(content, Tensor) else 10
