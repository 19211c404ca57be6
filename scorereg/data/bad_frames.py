"""Frames that cannot be used: an error at the first, or left out with a warning, up to 1 % of all."""

import warnings
from dataclasses import dataclass, field

__all__ = ["BadFrames", "ReadOptions"]


@dataclass(frozen=True)
class ReadOptions:
    """Which frames may be left out when folders of frames are read.

    Args:
        skip_bad: Leave out frames that cannot be used, up to 1 % of all, instead of raising at the first.
        exclude: Patterns of names of folders to leave out, like `ai_037_*`.
    """

    skip_bad: bool = False
    exclude: tuple[str, ...] = ()


@dataclass
class BadFrames:
    """Collects the errors of frames that are left out.

    Args:
        options: Whether bad frames may be left out.
        messages: One error text for each frame that was left out.
        left_out: Scenes that were left out because they cannot be used as a whole, with the reason.
    """

    options: ReadOptions = field(default_factory=ReadOptions)
    messages: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def add(self, error: OSError | ValueError) -> None:
        """Record the error of a bad frame; raise it if `options.skip_bad` is not set."""
        if not self.options.skip_bad:
            raise error
        self.messages.append(str(error))

    def check(self, total: int) -> None:
        """Check that at most 1 % of the frames are bad.

        Args:
            total: Number of frames, good and bad.

        Raises:
            ValueError: If more are; the first three are named.
        """
        if len(self.messages) > total / 100:
            raise ValueError(
                f"{len(self.messages)} of {total} frames cannot be used, and only 1 % may be skipped: something is "
                f"wrong with the data as a whole. The first: {' | '.join(self.messages[:3])}"
            )

    def report(self, total: int, *, stacklevel: int = 3) -> None:
        """Check as `check` does, then warn of everything that was left out, one warning each.

        Args:
            total: Number of frames, good and bad.
            stacklevel: Passed to `warnings.warn`.

        Raises:
            ValueError: If more than 1 % are bad.
        """
        self.check(total)
        for line in (*self.left_out, *self.messages):
            warnings.warn(f"left out: {line}", stacklevel=stacklevel)
        if self.messages:
            warnings.warn(f"{len(self.messages)} of {total} frames were left out.", stacklevel=stacklevel)
