"""What two runs of a command left in their folders, compared to the bit but for times and rates."""

import json
from pathlib import Path
from typing import Any

import torch

__all__ = ["differences"]

_TIMES = ("seconds", "images_per_second")
_CHECKPOINTS = "checkpoints"


def differences(whole: Path, parted: Path) -> list[str]:
    """Return what differs between two folders, a line each.

    Of checkpoints of training only the newest and the best are compared: an interrupted run leaves one more.
    """
    names, others = _names(whole), _names(parted)
    found = [f"{name} is {'missing' if name in names else 'left over'}" for name in sorted(names ^ others)]
    for name in sorted(names & others):
        a, b = _content(whole / name), _content(parted / name)
        if not _same(a, b):
            found.append(f"{name} differs")
    return found


def _names(folder: Path) -> set[str]:
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    kept = sorted(path.name for path in (folder / _CHECKPOINTS).glob("0*.pt"))
    best = folder / _CHECKPOINTS / "best.json"
    wanted = {kept[-1]} if kept else set()
    wanted |= {f"{json.loads(best.read_text())['step']:08d}.pt"} if best.is_file() else set()
    return files - {f"{_CHECKPOINTS}/{name}" for name in set(kept) - wanted}


def _content(path: Path) -> Any:
    if path.suffix == ".pt":
        return torch.load(path, weights_only=True)
    if path.suffix == ".json":
        return json.loads(path.read_text())
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    return path.read_bytes()


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a if key not in _TIMES)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    return type(a) is type(b) and a == b
