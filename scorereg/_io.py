"""Atomic file writes, checks that a path can be written, and text and JSON with errors that name the file."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["MOST_TEXT", "check_file", "check_folder", "hold_folder", "read_json", "read_text", "write_beside"]

MOST_TEXT = 256 * 2**20
"""Most bytes of a description: no file makes a program read on and on."""


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


@contextmanager
def hold_folder(out: Path) -> Iterator[None]:
    """Keep other runs out of a folder while this one writes to it.

    The folder itself is locked (`flock`), so that nothing is left behind: the lock ends with the process, however that
    ends. Where the system has no such locks (Windows, some network drives) nothing is locked.

    Raises:
        OSError: If another run holds the folder.
    """
    if find_spec("fcntl") is None:
        yield
        return
    handle = os.open(out, os.O_RDONLY)
    try:
        _lock(handle, out)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, out: Path) -> None:
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OSError(f"{out} is in use by another run. Wait for its end, or choose another --out.") from None
    except OSError:
        return  # no locks on this file system


def check_file(path: Path) -> None:
    """Create a file's folder and check that the file can be written, before a long computation starts.

    Raises:
        OSError: If it cannot.
    """
    if path.is_dir():
        raise OSError(f"{path} cannot be written (it is a folder). Name a file in it.")
    check_folder(path.parent)


def read_text(path: Path, remedy: str, *, latin: bool = False) -> str:
    r"""Read a text file in UTF-8, UTF-16 or UTF-32, with or without byte order mark; line ends become `\n`.

    Args:
        path: The file.
        remedy: Sentence at the end of an error: what to do.
        latin: Take bytes that are no UTF-8 for Latin-1, which every file is.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is larger than `MOST_TEXT` bytes, or in another encoding.
    """
    try:
        if path.is_file() and (size := path.stat().st_size) > MOST_TEXT:
            raise ValueError(f"{path} has {size / 2**20:.0f} MB, which no description has. {remedy}")
        data = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing. {remedy}") from None
    except OSError as error:
        raise OSError(f"{path} cannot be read ({error.strerror or error}). {remedy}") from None
    try:
        text = data.decode(json.detect_encoding(data))
    except UnicodeDecodeError as error:
        if error.encoding != "utf-8" or not latin:
            why = f"{error.reason} at byte {error.start}"
            raise ValueError(f"{path} is no text in {error.encoding} ({why}). Save it as UTF-8. {remedy}") from None
        text = data.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """Read a JSON object, in any encoding of `read_text`. Numbers may be NaN or infinite, as Python writes them.

    Args:
        path: The file.
        remedy: Sentence at the end of an error: what to do.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it holds no JSON object, or one that has a key twice with two values.
    """
    text = read_text(path, remedy)
    try:
        entries = json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError(f"{path} is no valid JSON that can be read (nested too deep). {remedy}") from None
    except ValueError as error:
        raise ValueError(f"{path} is no valid JSON ({error}). {remedy}") from None
    if not isinstance(entries, dict):
        raise ValueError(f"{path} must hold one JSON object, not a {type(entries).__name__}. {remedy}")
    return entries


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, whose keys must differ: which of two values holds is anyone's guess."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found and found[key] != value:
            raise ValueError(f"the key `{key}` is there twice")
        found[key] = value
    return found
