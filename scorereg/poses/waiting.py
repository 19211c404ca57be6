"""Long calls that say nothing by themselves: in a thread, with a line of progress every few seconds."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["EVERY", "spoken"]

EVERY = 5.0
"""Seconds between two lines of progress."""

_T = TypeVar("_T")


def spoken(
    call: Callable[[], _T], words: Callable[[], str], say: Callable[[str], object], stop: Callable[[], object]
) -> _T:
    """Return a call's result; meanwhile say what it does, and for how long it has been.

    Args:
        call: Runs in a thread, and should leave Python's lock to others.
        words: What it does now.
        say: Is given a line every `EVERY` seconds.
        stop: Makes the call end early; called at Ctrl-C, which is raised again when the call has ended.

    Raises:
        Exception: What the call raises.
    """
    result: list[_T] = []
    error: list[BaseException] = []

    def run() -> None:
        try:
            result.append(call())
        except BaseException as caught:
            error.append(caught)

    thread = threading.Thread(target=run, daemon=True)
    started = time.monotonic()
    thread.start()
    try:
        while thread.join(EVERY) or thread.is_alive():
            say(f"{words()}, {time.monotonic() - started:.0f} s")
    except KeyboardInterrupt:
        stop()
        thread.join()
        raise
    if error:
        raise error[0]
    return result[0]
