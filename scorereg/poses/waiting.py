"""Long work that says nothing by itself: in a thread, with a line of progress every few seconds."""

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["EVERY", "Progress", "spoken"]

EVERY = 5.0
"""Seconds between two lines of progress."""

_T = TypeVar("_T")


@dataclass
class Progress:
    """What work has come to: its stage in words, and how many of how many things are done; 0 of 0 where unknown."""

    stage: str = ""
    done: int = 0
    total: int = 0

    def __str__(self) -> str:
        return self.stage + (f", {self.done} of {self.total}" if self.total else "")


def spoken(call: Callable[[], _T], progress: Progress, say: Callable[[str], object], stop: Callable[[], object]) -> _T:
    """Return a call's result; meanwhile say how far it is, at each new stage and every `EVERY` seconds.

    Args:
        call: Runs in a thread, and should leave Python's lock to others.
        progress: Is changed by the call.
        say: Is given the lines.
        stop: Makes the call end early; called at Ctrl-C, which is raised again when the call has ended.

    Raises:
        Exception: What the call raises.
    """
    result: list[_T] = []
    error: list[BaseException] = []
    ended = threading.Event()  # a join that Ctrl-C interrupts would take the thread for ended

    def run() -> None:
        try:
            result.append(call())
        except BaseException as caught:
            error.append(caught)
        finally:
            ended.set()

    thread = threading.Thread(target=run, daemon=True)
    try:
        thread.start()
        _wait(ended, progress, say)
    except BaseException:
        stop()
        while thread.ident is not None and not ended.is_set():
            with contextlib.suppress(KeyboardInterrupt):  # a second one, before the first is done
                ended.wait()
        raise
    if error:
        raise error[0]
    return result[0]


def _wait(ended: threading.Event, progress: Progress, say: Callable[[str], object]) -> None:
    stage, started = "", time.monotonic()
    said = started
    while not ended.wait(0.1):
        now = time.monotonic()
        if progress.stage != stage or now - said >= EVERY:
            say(f"{progress}, {now - started:.0f} s" if progress.stage == stage else str(progress))
            stage, said = progress.stage, now
