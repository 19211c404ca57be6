"""All hostile cases, by their kinds."""

from benchmarks.hostile import archives, headers, links, media, pickles, runs, shots, text, uses, web, weights
from benchmarks.hostile.case import Case, Cases

__all__ = ["ALL", "find_cases"]

ALL: tuple[Cases, ...] = tuple(
    module.CASES for module in (pickles, archives, headers, text, links, weights, media, web, runs, shots, uses)
)  # fmt: skip


def find_cases(kinds: list[str] | None = None, word: str = "") -> list[Case]:
    """Return the cases of some kinds, or of all, whose names hold a word."""
    return [case for group in ALL if not kinds or group.kind in kinds for case in group if word in case.name]
