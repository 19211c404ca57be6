"""Files that are whole or not there."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["check_file", "check_folder", "read_json", "write_beside"]


def write_beside(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a path beside `path`, then rename it into place: `path` is never half written.

    Raises:
        OSError: If it cannot be written.
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        write(beside)
        with beside.open("rb") as file:
            os.fsync(file.fileno())  # the name must not be there before the content, should the power fail
        beside.replace(path)
    except RuntimeError as error:  # torch.save reports a full or forbidden disk so
        raise OSError(
            f"{path} cannot be written ({str(error).splitlines()[0]}). Free some space or choose another folder."
        ) from None
    finally:
        beside.unlink(missing_ok=True)


def check_folder(out: Path) -> None:
    """Make a folder for results, and see that it can be written before anything is worked out.

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
    """Make a file's folder, and see that the file can be written before anything is worked out.

    Raises:
        OSError: If it cannot.
    """
    if path.is_dir():
        raise OSError(f"{path} cannot be written (it is a folder). Name a file in it.")
    check_folder(path.parent)


def read_json(path: Path, cure: str) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Args:
        path: The file.
        cure: Last sentence of the errors, such as "Copy the file again."

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it holds anything else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # also of bytes that are no UTF-8
        raise ValueError(f"{path} is no valid JSON ({error}). {cure}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold one JSON object, not a {type(content).__name__}. {cure}")
    return content
