"""How far long work is: a line every few seconds, so that nothing stands still without a word.

Work counts itself by `stage` and `steps`, which cost next to nothing and are silent by themselves. Who shows it, a
command or a function with `show=True`, opens `told`: a thread then says the innermost stage every few seconds, also
while a single step of it takes longer than that.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

__all__ = ["EVERY", "Stage", "bar", "hushed", "stage", "steps", "told"]

EVERY = 5.0
"""Seconds between two lines of the first minute of a stage."""

_FIRST, _LATER = 60.0, 1.8  # from there on, so many times as long: 9 s
_T = TypeVar("_T")


class Stage:
    """A part of some work.

    Args:
        what: The part, in a few words.
        total: Number of its steps; 0 where it is unknown.
        done: Steps that were done before, which say nothing of the speed.
        announce: Say it when it begins, in place of when it has taken a while.
    """

    def __init__(self, what: str, total: int = 0, *, done: int = 0, announce: bool = False) -> None:
        self.what, self.total, self.done, self.announce = what, total, done, announce
        self.note = ""
        self.began = self.since = time.monotonic()
        self._first = done

    def step(self, note: str | None = None) -> None:
        """Count a step; a note is said with it and later ones."""
        self.done += 1
        self.say(note)

    def say(self, note: str | None = None, what: str | None = None) -> None:
        """Change the note, or what the stage is called."""
        self.note = self.note if note is None else note
        if what is not None:
            self.what, self.since = what, time.monotonic()

    def __str__(self) -> str:
        """The stage, what is done of it, the seconds it took and about how many it will take yet."""
        spent = time.monotonic() - self.began
        words = [f"{self.what}: {self.done} of {self.total}" if self.total else self.what]
        words += [self.note] if self.note else []
        words += [_seconds(spent)] if spent >= 1 else []
        if spent >= 1 and self._first < self.done < self.total:
            left = spent / (self.done - self._first) * (self.total - self.done)
            words.append(f"about {_seconds(left)} left")
        return ", ".join(words)


class _Bar(Stage):
    """A stage that is drawn as a bar."""

    def __init__(self, what: str, total: int, done: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        super().__init__(what, total, done=done)
        words, note = (TextColumn(f"{{task.{name}}}", markup=False) for name in ("description", "fields[note]"))
        columns = words, BarColumn(), note, TimeElapsedColumn(), TimeRemainingColumn()
        self.drawn = Progress(*columns, console=Console(stderr=True), refresh_per_second=4)
        self._task = self.drawn.add_task(what, total=total, completed=done, note="")

    def say(self, note: str | None = None, what: str | None = None) -> None:
        super().say(note, what)
        self.drawn.update(self._task, completed=self.done, note=self.note, description=self.what)


class _Watch:
    """The stages of some work, the innermost last, and who is told of them."""

    def __init__(self, say: Callable[[str], object], idle: str) -> None:
        self.say, self.idle = say, idle
        self.stages: list[Stage] = []
        self.hushed = 0
        self.ended = threading.Event()
        self.began = self.said = time.monotonic()

    def watch(self) -> None:
        """Say the innermost stage whenever it is time, until the end."""
        last = None
        while not self.ended.wait(min(0.1, EVERY / 10)):
            now, stages = time.monotonic(), self.stages[-1:]
            current = stages[0] if stages else None
            new = current is not None and current is not last and current.announce
            pause = _LATER * EVERY if current and now - current.since > _FIRST else EVERY
            if not self.hushed and (new or now - self.said >= pause) and (current or self.idle):
                self.say(str(current) if current else f"{self.idle}, {_seconds(now - self.began)}")
                self.said = now
            last = current


_heard: ContextVar[_Watch | None] = ContextVar("_heard", default=None)


@contextmanager
def told(say: Callable[[str], object] | None = None, *, idle: str = "at work") -> Iterator[None]:
    """Say how far the work inside is; who was told before is not, until it ends.

    Args:
        say: Is given the lines, in a thread of its own; written to standard error, if not given.
        idle: What is said of work that counts nothing; nothing, if empty.
    """
    outer, watch = _heard.get(), _Watch(say or _write, idle)
    thread = threading.Thread(target=watch.watch, name="progress", daemon=True)
    token = _heard.set(watch)
    try:
        thread.start()
        if outer:
            outer.hushed += 1
        try:
            yield
        finally:
            if outer:
                outer.hushed, outer.said = outer.hushed - 1, watch.said
    finally:
        _heard.reset(token)
        watch.ended.set()
        if thread.ident is not None:
            thread.join()


@contextmanager
def stage(what: str, total: int = 0, *, done: int = 0, announce: bool = False) -> Iterator[Stage]:
    """Count some work inside; see `Stage`."""
    watch, own = _heard.get(), Stage(what, total, done=done, announce=announce)
    if watch:
        watch.stages.append(own)
    try:
        yield own
    finally:
        if watch:
            watch.stages.remove(own)


def steps(what: str, items: Iterable[_T], total: int | None = None) -> Iterator[_T]:
    """Yield items, each of which is a step of a stage, done when the next one is asked for.

    Args:
        what: The stage, in a few words.
        items: What is worked on.
        total: Their number; their length, if not given, where they have one.
    """
    total = (len(items) if isinstance(items, Sized) else 0) if total is None else total
    with stage(what, total) as own:
        for item in items:
            yield item
            own.done += 1


@contextmanager
def hushed() -> Iterator[None]:
    """Say nothing of the work inside, which shows itself or waits for a person."""
    watch = _heard.get()
    if watch:
        watch.hushed += 1
    try:
        yield
    finally:
        if watch:
            watch.hushed, watch.said = watch.hushed - 1, time.monotonic()


@contextmanager
def bar(what: str, total: int, *, done: int = 0) -> Iterator[Stage]:
    """Count some work inside, which a terminal shows as a bar; elsewhere it is a stage."""
    if not sys.stderr.isatty():
        with stage(what, total, done=done) as own:
            yield own
        return
    drawn = _Bar(what, total, done)
    with hushed(), drawn.drawn:
        yield drawn


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min" if seconds < 6000 else _hours(seconds)


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h"


def _write(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
