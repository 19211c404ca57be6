"""What `benchmarks.ops` times: a case has several ways to do one thing, which take turns."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

__all__ = ["Case", "both_ways", "measure"]


@dataclass(frozen=True)
class Case:
    """One thing to do.

    Args:
        op: The operation.
        what: Sizes, in words.
        runs: Ways to do it, by name; one of them is `"ours"`.
        repeats: Turns.
        bytes: What has to move through memory at least, if that is known.
    """

    op: str
    what: str
    runs: dict[str, Callable[[], None]]
    repeats: int = 31
    bytes: int | None = None


def both_ways(run: Callable[[], tuple[torch.Tensor, ...]], wanted: Sequence[torch.Tensor]) -> Callable[[], None]:
    """Forward and backward, with gradients of one to all outputs."""
    cotangents = [torch.ones_like(x) for x in run()]
    return lambda: void(torch.autograd.grad(run(), wanted, cotangents))


def void(_: object) -> None:
    """Nothing is kept: what was computed is freed within the time that is taken."""


def measure(case: Case, device: str) -> dict[str, list[float]]:
    """Milliseconds of each way, by name.

    With one thread on a CPU those of the process, which other processes disturb less; else those of the clock.
    """
    alone = device != "cuda" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    taken: dict[str, list[float]] = {name: [] for name in case.runs}
    names = list(case.runs)
    for repeat in range(-2, case.repeats):  # the first two warm up
        for name in names[repeat % len(names) :] + names[: repeat % len(names)]:
            _wait(device)
            start = clock()
            case.runs[name]()
            _wait(device)
            if repeat >= 0:
                taken[name].append(1e3 * (clock() - start))
    return taken


def ratio(ours: list[float], other: list[float]) -> float:
    """Median over the turns of other / ours: what slows one turn slows both."""
    return statistics.median(b / a for a, b in zip(ours, other, strict=True))


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
