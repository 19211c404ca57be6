"""Long work of another library that Ctrl-C would not reach: in a thread, which is asked to stop and waited for."""

import contextlib
import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

__all__ = ["interruptible"]

_T = TypeVar("_T")


def interruptible(call: Callable[[], _T], stop: Callable[[], object]) -> _T:
    """Return a call's result.

    Args:
        call: Runs in a thread, and should leave Python's lock to others.
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

    context = contextvars.copy_context()  # by which progress in the thread is heard
    thread = threading.Thread(target=context.run, args=(run,), daemon=True)
    try:
        thread.start()
        while not ended.wait(0.5):  # Windows hears no Ctrl-C in a wait without an end
            pass
    except BaseException:
        stop()
        while thread.ident is not None and not ended.is_set():
            with contextlib.suppress(KeyboardInterrupt):  # a second one, before the first is done
                ended.wait()
        raise
    if error:
        raise error[0]
    return result[0]
