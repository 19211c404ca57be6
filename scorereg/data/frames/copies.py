"""Folders of frames that are there twice: a copy is trained on and measured on at once."""

import filecmp
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from scorereg.data.frames.frame import Frame

__all__ = ["copied_words"]

_FEWEST = 6  # files, from which on names and sizes tell a copy


def copied_words(frames: Iterable[Frame]) -> str | None:
    """Return the line that names a folder whose files are those of another one by name and size; None without one.

    Of two such folders the first file is compared byte by byte.
    """
    folders: dict[Path, list[Path]] = defaultdict(list)
    for frame in frames:
        folders[frame.file.parent].append(frame.file)
    known: dict[frozenset[tuple[str, int]], Path] = {}
    found = []
    for folder, files in folders.items():
        try:
            key = frozenset((file.name, file.stat().st_size) for file in files)
            first = known.setdefault(key, folder)
            if first != folder and len(key) >= _FEWEST and filecmp.cmp(first / files[0].name, files[0], shallow=False):
                found.append((folder, first))
        except OSError:  # told when it is read
            continue
    if not found:
        return None
    more = f" ({len(found)} folders are copies)" if len(found) > 1 else ""
    return (
        f"{found[0][0]} holds the same files as {found[0][1]}{more}. Leave one out, as scenes must not be in two sets."
    )
