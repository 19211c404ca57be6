"""Atomic file writes, checks that a path can be written, and JSON objects with errors that name the file."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["check_file", "check_folder", "read_json", "write_beside"]


def write_beside(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary path in the same folder, then rename it to `path`: `path` is never half written.

    Raises:
        OSError: If it cannot be written.
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        write(beside)
        with beside.open("rb") as file:
            os.fsync(file.fileno())  # the content must be on disk before the name, should the power fail
        beside.replace(path)
    except RuntimeError as error:  # what torch.save raises on a full or read-only disk
        raise OSError(
            f"{path} cannot be written ({str(error).splitlines()[0]}). Free some space or choose another folder."
        ) from None
    finally:
        beside.unlink(missing_ok=True)


def check_folder(out: Path) -> None:
    """Create a folder for results and check that it can be written, before a long computation starts.

    Raises:
        OSError: If it cannot.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise OSError(f"{out} cannot be written ({error.strerror or error}). Choose another --out.") from None


def check_file(path: Path) -> None:
    """Create a file's folder and check that the file can be written, before a long computation starts.

    Raises:
        OSError: If it cannot.
    """
    if path.is_dir():
        raise OSError(f"{path} cannot be written (it is a folder). Name a file in it.")
    check_folder(path.parent)


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: The file.
        remedy: Sentence at the end of an error: what to do.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it holds no JSON object.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no valid JSON ({error}). {remedy}") from None
    if not isinstance(entries, dict):
        raise ValueError(f"{path} must hold one JSON object, not a {type(entries).__name__}. {remedy}")
    return entries
