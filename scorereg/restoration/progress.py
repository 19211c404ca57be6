"""Lines of progress on standard error, every few seconds of a restoration."""

import sys
import time

__all__ = ["Progress"]

_EVERY = 5.0  # seconds


class Progress:
    """Says how far work is, once it has taken 5 seconds, and every 5 seconds from then on.

    Args:
        what: The work, in a word or two.
        total: Number of its steps.
        show: Whether to say anything.
    """

    def __init__(self, what: str, total: int, show: bool) -> None:
        self.what, self.total, self.show = what, total, show
        self.done = 0
        self._began = self._said = time.monotonic()

    def step(self, note: str = "") -> None:
        """Count a step, and say so if it is time."""
        self.done += 1
        now = time.monotonic()
        if self.show and now - self._said >= _EVERY:
            self._said = now
            spent = now - self._began
            left = spent / self.done * max(self.total - self.done, 0)
            note = f", {note}" if note else ""
            line = f"{self.what}: step {self.done} of {self.total}{note}, {spent:.0f} s, about {left:.0f} s left"
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
