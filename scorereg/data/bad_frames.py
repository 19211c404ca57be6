"""Files that cannot be used: an error at the first, or counted, named and left out, up to one in a hundred."""

from dataclasses import dataclass, field

__all__ = ["BadFrames", "ReadOptions"]


@dataclass(frozen=True)
class ReadOptions:
    """How raw frames are read.

    Args:
        skip_bad: Leave frames out that cannot be used, up to one in a hundred, instead of stopping at the first.
        exclude: Patterns (`ai_037_*`) of folders that are left out.
    """

    skip_bad: bool = False
    exclude: tuple[str, ...] = ()


@dataclass
class BadFrames:
    """What was wrong with some data.

    Args:
        skip: Leave bad frames out instead of stopping at the first.
        bad: What was wrong, one line for each frame that was left out.
        left_out: Whole scenes that were left out on purpose, with the reason.
    """

    skip: bool = False
    bad: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def add(self, error: OSError | ValueError) -> None:
        """Count a bad frame; raise its error where nothing is to be skipped."""
        if not self.skip:
            raise error
        self.bad.append(str(error))

    def check(self, total: int) -> None:
        """Refuse data of which more than 1 % is bad.

        Args:
            total: Number of frames, good and bad.

        Raises:
            ValueError: If too many are bad; the first three are named.
        """
        if len(self.bad) > total / 100:
            raise ValueError(
                f"{len(self.bad)} of {total} frames cannot be used, and only 1 % may be skipped: something is wrong "
                f"with the data as a whole. The first: {' | '.join(self.bad[:3])}"
            )
