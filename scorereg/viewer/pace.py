"""How fast rays are rendered here, and so how many at a time: a view follows the hand, and then becomes sharp."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

__all__ = ["Pace"]

_FEW = 256  # rays that a number of threads is tried out with
_START = 5000.0  # rays a second that are taken for granted at first


class Pace:
    """Measures rays a second, and says how many go into a picture, and into a piece of one.

    On a machine with other work several threads wait for each other, and one alone can be faster by far; so where a
    choice is given, the number of threads is tried out again every 20 seconds, and less often the worse the others are.

    Args:
        threads: Numbers of threads to choose from, the first to begin with; empty leaves torch's as it is.
        moving: Seconds for a picture while the camera moves.
        piece: Seconds for a piece of a picture, after which a new camera is looked at.
        clock: Source of seconds.
    """

    def __init__(
        self,
        threads: Sequence[int] = (),
        *,
        moving: float = 0.2,
        piece: float = 0.1,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.threads, self.moving, self.piece, self.clock = tuple(threads), moving, piece, clock
        self.best = threads[0] if threads else 0
        self.rates: dict[int, float] = {}
        self._next = -math.inf  # when they are tried out

    @property
    def rate(self) -> float:
        """Rays a second with the best number of threads."""
        return self.rates.get(self.best, _START)

    def step(self, pixels: int) -> int:
        """Return the side of a large pixel, in pixels, with which a picture takes the time of a moving one."""
        return min(max(math.ceil(math.sqrt(pixels / (self.rate * self.moving))), 1), 16)

    def rays(self) -> int:
        """Return the number of rays of a piece."""
        return int(min(max(self.rate * self.piece, 512), 16384))

    @contextmanager
    def timed(self, count: int) -> Iterator[None]:
        """Render rays inside, and note how long so many took."""
        yield from self._timed(count, self.best)

    def try_out(self, render: Callable[[int], object]) -> None:
        """Compare the numbers of threads with a few rays, if it is time.

        Args:
            render: Renders so many rays.
        """
        if len(self.threads) < 2 or self.clock() < self._next:
            return
        for threads in self.threads:
            for _ in self._timed(_FEW, threads):
                render(_FEW)
        self.best = max(self.threads, key=lambda each: self.rates[each])
        worst = min(self.rates[each] for each in self.threads)
        self._next = self.clock() + 20 * min(self.rate / worst, 15.0)

    def _timed(self, count: int, threads: int) -> Iterator[None]:
        if threads:
            torch.set_num_threads(threads)
        began = self.clock()
        yield
        rate = count / max(self.clock() - began, 1e-6)
        before = self.rates.get(threads)
        self.rates[threads] = rate if before is None else before + 0.3 * (rate - before)
