"""Whether a run's checkpoints have room on the disk, said before the run begins."""

import warnings
from pathlib import Path

from scorereg._io import free_bytes, largest_file
from scorereg.training.checkpoint import State, checkpoint_bytes, checkpoints

__all__ = ["check_space"]

_MARGIN = 1.1  # of an estimate


def check_space(state: State, out: Path) -> None:
    """Warn if a run's checkpoints will not all have room: the last few, the best, and the one that is being written.

    Args:
        state: The run.
        out: Its folder.

    Raises:
        OSError: If not even one has room.
    """
    each = _MARGIN * checkpoint_bytes(state)
    present = [path.stat().st_size for path in checkpoints(out)]
    free = free_bytes(out) + sum(present[:-1])  # old ones give way
    size = f"a checkpoint of this run has about {_words(each)}"
    if largest_file() < each:
        raise OSError(
            f"{size}, but files may have {_words(largest_file())} here. Raise the limit (ulimit -f), or take a smaller "
            "--network."
        )
    if free < each:
        raise OSError(
            f"{size}, but the disk of {out} has {_words(free)} left. Free some space, or choose another --out."
        )
    wanted = state.settings.keep + 2 - min(len(present), 1)
    if free < wanted * each:
        warnings.warn(
            f"{size}, and the disk of {out} has room for {int(free / each)} of {wanted}: older ones will be removed "
            "first, and the newest whole one is kept. Free some space, or give a smaller --keep.",
            stacklevel=3,
        )


def _words(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
