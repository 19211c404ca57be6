"""Warnings about files: those of one kind are said once, with the number of files."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["FileWarning", "gathered"]


class FileWarning(UserWarning):
    """What a user should know of how a file was read.

    Args:
        path: The file.
        words: The rest of the sentence.
        kind: Name for all warnings of this kind; the words, if not given.
    """

    def __init__(self, path: Path, words: str, kind: str = "") -> None:
        super().__init__(f"{path} {words}")
        self.kind = kind or words


@contextmanager
def gathered() -> Iterator[None]:
    """Say the first `FileWarning` of each kind that occurs inside, with the number of further files, at the end."""
    heard = []
    try:
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            yield
    finally:
        kinds: dict[str, list[FileWarning]] = {}
        for each in heard:
            if isinstance(each.message, FileWarning):
                kinds.setdefault(each.message.kind, []).append(each.message)
            else:
                warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
        for first, *others in kinds.values():
            more = len({str(other) for other in others} - {str(first)})
            warnings.warn(f"{first}{f' ({more} files more alike)' if more else ''}", stacklevel=4)
