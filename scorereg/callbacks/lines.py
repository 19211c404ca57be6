"""A file of JSON lines that grows with a run: no line is lost on a full disk, torn by a kill, or there twice."""

import json
import warnings
from pathlib import Path
from typing import Any

from scorereg._io import check_plain, write_beside, writing

__all__ = ["Lines"]


class Lines:
    """A file of one JSON object a line, each with the number of its step.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._waiting = b""  # lines that could not be written yet
        self._warned = False

    def keep_until(self, step: int) -> None:
        """Leave only the whole lines of steps up to one, which a resumed run goes on from.

        Raises:
            OSError: If the file cannot be read or written.
        """
        kept = [line for line in self._read() if _step(line) <= step]
        data = b"".join(kept)
        write_beside(self.path, lambda path: path.write_bytes(data))

    def write(self, line: dict[str, Any]) -> None:
        """Append a line. Where it cannot be written, it is kept for the next time, with one warning."""
        self._waiting += json.dumps(line).encode() + b"\n"
        try:
            self._append()
        except OSError as error:
            if not self._warned:
                warnings.warn(f"{error} The run goes on, and writes the lines later if it can.", stacklevel=3)
            self._warned = True

    def close(self) -> None:
        """Write what could not be written before, if that is possible now."""
        try:
            self._append()
        except OSError:  # which was warned of
            return

    def _append(self) -> None:
        if not self._waiting:
            return
        with writing(self.path), self.path.open("ab", buffering=0) as file:
            end = file.tell()
            try:
                left = memoryview(self._waiting)
                while left:  # a disk that fills up takes a part of it first
                    left = left[file.write(left) :]
            except OSError:
                file.truncate(end)
                raise
        self._waiting = b""

    def _read(self) -> list[bytes]:
        check_plain(self.path)
        try:
            return self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        except OSError as error:
            why = error.strerror or error
            raise OSError(f"{self.path} cannot be read ({why}). Make it readable, or move it away.") from None


def _step(line: bytes) -> float:
    """The step of a line; infinity for half a line, of a run that was killed or found the disk full."""
    try:
        step = json.loads(line)["step"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return float("inf")
    return float(step) if line.endswith(b"\n") and isinstance(step, int) else float("inf")
