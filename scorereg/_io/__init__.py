"""Atomic file writes, checks that a path can be written, and text and JSON with errors that name the file."""

import errno
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = [
    "MOST_TEXT", "check_file", "check_folder", "check_names", "check_plain", "free_bytes", "hold_folder", "is_full",
    "largest_file", "parse_json", "printable", "read_json", "read_text", "remedy_of", "write_beside", "writing",
]  # fmt: skip

MOST_TEXT = 256 * 2**20
"""Most bytes of a description: no file makes a program read on and on."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REMEDIES = {
    errno.ENOSPC: "The disk is full: free some space, or choose another folder.",
    errno.EDQUOT: "Your share of the disk is used up: remove some of your files, or choose another folder.",
    errno.EFBIG: "Files may not be so large here: raise the limit (ulimit -f), or choose a folder on another disk.",
    errno.EIO: "The disk or network drive fails: look at it, or choose another folder.",
    errno.EROFS: "The disk is read-only: choose another folder.",
    errno.EISDIR: "A folder has the file's name: move it away, or choose another folder.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.ELOOP: "The link leads to itself: remove it.",
    errno.EMFILE: "Too many files are open: raise the limit (ulimit -n).",
}
_REMEDIES |= dict.fromkeys(
    (errno.EACCES, errno.EPERM), "You may not write there: change the permissions, or choose another folder."
)
_REMEDIES |= dict.fromkeys(
    (errno.ENOENT, errno.ENOTDIR, errno.ESTALE), "Its folder is not there: make it again, or choose another."
)
_SHORT = re.compile(r"\d+ requested and \d+ written")  # NumPy's words for a full disk, without a number


def write_beside(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary path in the same folder, then rename it to `path`: `path` is never half written.

    Raises:
        OSError: If it cannot be written.
    """
    beside = path.with_name(f".{path.name}.new")
    with writing(path):
        beside.unlink(missing_ok=True)  # what another put there may be a link, which would be followed, or a pipe
        try:
            write(beside)
            with beside.open("rb") as file:
                os.fsync(file.fileno())  # the content must be on disk before the name, should the power fail
            beside.replace(path)
        finally:
            with suppress(OSError):  # its folder may be gone
                beside.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the errors of a block that writes a file into one line that names it, with the cure.

    Raises:
        OSError: With the `errno` of the error, if that is known.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch.save raises the latter, with its cause as context
        found = _cause(error)
        number = found.errno if found else None
        if found is not None and _SHORT.fullmatch(str(found)):
            number = errno.ENOSPC
        if found is not None and number is None:
            raise  # it is one line already
        what = os.strerror(number) if number else str(error).splitlines()[0]
        new = OSError(f"{path} cannot be written ({what}). {remedy_of(number)}")
        new.errno = number
        raise new from None


def _cause(error: BaseException | None) -> OSError | None:
    while error is not None and not isinstance(error, OSError):
        error = error.__context__
    return error


def remedy_of(number: int | None) -> str:
    """Return a sentence that says what to do where a file cannot be written, by the number of the error."""
    return _REMEDIES.get(number or 0, "Free some space, or choose another folder.")


def is_full(error: OSError) -> bool:
    """Whether a file could not be written for its size: the disk is full, or a quota or limit is reached."""
    return error.errno in _FULL


def free_bytes(folder: Path) -> float:
    """Return what a folder's disk has left for its user, in bytes; infinity where the disk does not say."""
    try:
        disk = shutil.disk_usage(folder)
    except OSError:
        return float("inf")
    return float(disk.free) if disk.total > 0 else float("inf")


def largest_file() -> float:
    """Return how large a file of this process may be, in bytes (`ulimit -f`); infinity without a limit."""
    if find_spec("resource") is None:
        return float("inf")
    import resource

    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return float("inf") if limit == resource.RLIM_INFINITY else float(limit)


def check_names(*paths: Path) -> None:
    """Check that no folder has the name of a file that is to be written.

    Raises:
        OSError: If one has.
    """
    for path in paths:
        if path.is_dir():
            raise OSError(f"{path} is a folder, where a file is to be written. Move it away, or choose another --out.")


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
    _held.add(handle)
    try:
        _lock(handle, out)
        yield
    finally:
        if handle in _held:  # else this is a copy of the process, which has closed it
            _held.remove(handle)
            os.close(handle)


_held: set[int] = set()


def _leave() -> None:
    """Close the locks in a copy of the process: it may outlive the one that holds them."""
    while _held:
        os.close(_held.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave)


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


def printable(text: str) -> str:
    """Return a line without what a terminal would obey: control characters, which a file may hold, are shown as `?`."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def check_plain(path: Path) -> None:
    """Check that a path that is there names a plain file: a pipe or a device could be read without an end.

    Raises:
        OSError: If it is a folder, a pipe, a device or a socket, or its links lead in a circle.
    """
    try:
        kind = path.stat().st_mode
    except FileNotFoundError:
        return
    except ValueError:  # a character that no name has
        raise FileNotFoundError(f"{path} is no name of a file. Correct it.") from None
    except OSError as error:
        raise OSError(f"{path} cannot be opened ({error.strerror or error}). Correct its name or its rights.") from None
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(f"{path} is a folder, but a file was expected. Correct the name.")
    if not stat.S_ISREG(kind):
        raise OSError(f"{path} is a pipe, device or socket, but a plain file was expected. Put the file itself there.")


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
    if not path.is_dir():
        check_plain(path)
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
    return parse_json(read_text(path, remedy), path, remedy)


def parse_json(text: str, path: str | Path, remedy: str) -> dict[str, Any]:
    """Return the JSON object of a text, as `read_json` does.

    Args:
        text: The text.
        path: Where it is from, for errors.
        remedy: Sentence at the end of an error: what to do.

    Raises:
        ValueError: If it is no JSON object, or one that has a key twice with two values.
    """
    try:
        entries = json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError(f"{path} is no valid JSON that can be read (nested too deep). {remedy}") from None
    except MemoryError:
        raise ValueError(f"{path} needs more memory than there is. {remedy}") from None
    except ValueError as error:
        raise ValueError(_other_text(text, path) or f"{path} is no valid JSON ({error}). {remedy}") from None
    if not isinstance(entries, dict):
        raise ValueError(f"{path} must hold one JSON object, not a {type(entries).__name__}. {remedy}")
    return entries


def _other_text(text: str, path: str | Path) -> str | None:
    """What stands where a download put it in place of a JSON file, with the cure; None for anything else."""
    start = text[:4096].lstrip().lower()
    if not start:
        return f"{path} is empty. Copy or download it again."
    if start.startswith("version https://git-lfs"):
        return f"{path} is a pointer of Git LFS, not the file itself. Fetch it: git lfs pull."
    if start.startswith("<") and ("<html" in start or "<!doctype" in start):
        return f"{path} is a web page: the download got one in place of the file. Download it again."
    return None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, whose keys must differ: which of two values holds is anyone's guess."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found and found[key] != value:
            raise ValueError(f"the key `{key}` is there twice")
        found[key] = value
    return found
