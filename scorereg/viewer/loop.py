"""The one thread that renders for all browsers: the picture of a camera that moved is coarse at once, then sharp."""

import contextlib
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from scorereg.viewer.canvas import Drawing, Wanted, draw
from scorereg.viewer.pace import Pace

__all__ = ["RenderLoop"]


@dataclass(eq=False)
class _Easel:
    """The picture of one browser: what it wants next, and what is being drawn."""

    show: Callable[[Drawing], object]
    next: Wanted | None = None
    pieces: Iterator[Drawing | None] | None = None
    coarse: bool = False  # whether the coarse picture was shown, after which a new camera ends the drawing


class RenderLoop:
    """A thread that renders pictures for browsers, and does other work with the fields in between.

    A coarse picture is always finished, so that a camera that moves all the time is followed; a full one is dropped
    when there is a newer camera.

    Args:
        pace: How many rays at a time.
    """

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self._easels: dict[Any, _Easel] = {}
        self._jobs: list[Callable[[], object]] = []
        self._later: list[Callable[[], object]] = []
        self._changed = threading.Condition()
        self._ended = False
        self.thread = threading.Thread(target=self._run, name="viewer", daemon=True)
        self.thread.start()

    def want(self, key: Any, wanted: Wanted, show: Callable[[Drawing], object]) -> None:
        """Ask for a picture; it takes the place of the one that was wanted for the same key.

        Args:
            key: The browser.
            wanted: What it shows.
            show: Is given the picture as it becomes sharper, in the loop's thread.
        """
        with self._changed:
            easel = self._easels.setdefault(key, _Easel(show))
            easel.show, easel.next = show, wanted
            self._changed.notify()

    def forget(self, key: Any) -> None:
        """Draw no more for a browser that has gone."""
        with self._changed:
            self._easels.pop(key, None)

    def submit(self, job: Callable[[], object], *, later: bool = False) -> None:
        """Do some other work in the loop's thread.

        Args:
            job: The work.
            later: When no picture is to be drawn, in place of before the next piece of one.
        """
        with self._changed:
            (self._later if later else self._jobs).append(job)
            self._changed.notify()

    def stop(self) -> None:
        """End the thread, after the piece that it draws; what takes longer than two seconds is left to itself."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self.thread.join(timeout=2)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._ended or self._jobs or self._later or self._drawn()):
                    self._changed.wait()
                if self._ended:
                    return
                easels, jobs = self._drawn(), self._jobs
                self._jobs = []
                if not easels and not jobs:
                    jobs = [self._later.pop(0)]
            for job in jobs:
                self._guarded(job)
            for easel in easels:
                self._guarded(lambda easel=easel: self._advance(easel))

    def _drawn(self) -> list[_Easel]:
        """The pictures that are not as they are wanted yet."""
        return [easel for easel in self._easels.values() if easel.next or easel.pieces]

    def _advance(self, easel: _Easel) -> None:
        """Draw one piece."""
        with self._changed:
            if easel.next is not None and (easel.pieces is None or easel.coarse):
                easel.pieces, easel.next, easel.coarse = draw(easel.next, self.pace), None, False
        if easel.pieces is None:
            return
        try:
            drawing = next(easel.pieces)
        except BaseException:  # also at its end
            easel.pieces = None
            raise
        if drawing is not None:
            easel.coarse = True
            easel.show(drawing)

    @staticmethod
    def _guarded(work: Callable[[], object]) -> None:
        try:
            work()
        except StopIteration:
            pass
        except Exception as error:  # a browser that goes away in between, or a field of someone's own
            line = (str(error).splitlines() or [""])[0][:200]
            where = traceback.extract_tb(error.__traceback__)[-1]
            words = f"a picture could not be drawn ({type(error).__name__}: {line}, {where.name})."
            with contextlib.suppress(UserWarning):  # the thread lives where warnings are errors, too
                warnings.warn(words, stacklevel=2)
