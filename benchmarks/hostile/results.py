"""What a command gave, so that two runs of it can be compared."""

import hashlib
import json
from pathlib import Path
from typing import Any

__all__ = ["RUNS", "result_of"]

_DATA = (".npy", ".tar", ".safetensors", ".png", ".ply", ".json")
_VOLATILE = ("seconds", "bytes", "sha256", "plan", "cpu_seconds")
RUNS = {"resume": "work/input/fit", "logged": "work/input/fit", "more": "work/input/run", "eval": "work/input"}
"""Folders that commands are told to write to, where those are part of the input."""


def result_of(command: str, sandbox: Path, stdout: str) -> dict[str, Any]:
    """Return what a command wrote and printed, without times and the names of folders."""
    folder = sandbox / RUNS.get(command, "out/results")
    found: dict[str, Any] = {}
    if command in ("inspect", "load", "text"):
        found["printed"] = stdout.replace(str(sandbox), "")
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.suffix not in _DATA or not path.is_file():
            continue
        name = str(path.relative_to(folder))
        if path.suffix == ".json":
            text = path.read_text(encoding="utf-8").replace(str(sandbox), "")
            found[name] = _plain(json.loads(text))
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inside) for key, inside in value.items() if key not in _VOLATILE}
    return [_plain(inside) for inside in value] if isinstance(value, list) else value
