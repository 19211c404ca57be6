"""Search of a tree of folders that follows links once and leaves out what operating systems put beside files."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

__all__ = ["is_litter", "walk"]

_FOLDERS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found", "#recycle")
_LONGEST = 1024  # bytes of a path
_FILES = ("thumbs.db", "desktop.ini")


def is_litter(name: str) -> bool:
    """Whether a file or folder is hidden or the system's: `.name`, `._name`, `__MACOSX`, `@eaDir`, `Thumbs.db`."""
    return name.startswith(".") or name in _FOLDERS or name.lower() in _FILES


def walk(root: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yield each folder at or below a root with the names of its folders and files, in order, as `os.walk` does.

    Links to folders are followed, each real folder once: a link to a folder that is reached without it, or that holds
    the root, leads nowhere. Links to files are files. `is_litter` says what is left out. Names that the caller
    removes from the list of folders are not entered. A folder that cannot be listed is left out with a warning, and so
    is a text file in place of a link.
    """
    start = root.resolve()
    seen = {start}

    def enters(folder: Path) -> bool:
        """Whether a folder is entered here; each real one is once."""
        real = folder.resolve()
        if folder.is_symlink() and (start.is_relative_to(real) or _reached(real, start)):
            return False
        fresh = real not in seen
        seen.add(real)
        return fresh

    for name, folders, files in os.walk(root, followlinks=True, onerror=_report):
        here = Path(name)
        folders[:] = [folder for folder in sorted(folders) if not is_litter(folder) and enters(here / folder)]
        yield here, folders, sorted(file for file in files if not is_litter(file) and not _is_text_link(here / file))


def _reached(real: Path, start: Path) -> bool:
    """Whether a real folder is found below the root without a link: no part of its path below it is left out."""
    return real.is_relative_to(start) and not any(is_litter(part) for part in real.relative_to(start).parts)


def _is_text_link(path: Path) -> bool:
    """Whether a file is the text that git and archives write for a link to a folder where links are not allowed."""
    try:
        if path.suffix or path.is_symlink() or not 0 < path.stat().st_size < _LONGEST:
            return False
        target = path.read_bytes().decode()
        if "\n" in target or "\0" in target or not (path.parent / target).is_dir():
            return False
    except (OSError, ValueError):
        return False
    warnings.warn(f"{path} is a text file with the path {target}, so it is left out. Make it a link.", stacklevel=3)
    return True


def _report(error: OSError) -> None:
    warnings.warn(f"{error.filename} cannot be listed ({error.strerror}), so it is left out.", stacklevel=3)
