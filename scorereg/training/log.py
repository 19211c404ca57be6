"""Metrics of a run as JSON lines, TensorBoard and progress; handling of interrupts."""

import importlib.util
import math
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scorereg.evaluation.pictures import patch_grid
from scorereg.priors.sampling import sample
from scorereg.training.checkpoint import State
from scorereg.training.lines import Lines
from scorereg.training.step import StepMetrics

__all__ = ["METRICS_FILE", "Log", "interrupts"]

METRICS_FILE = "metrics.jsonl"
_SECONDS = 30  # between two lines of progress, without a terminal


class Log:
    """Writes the mean loss every few steps and the results of validations; a context manager.

    A resumed run removes the lines beyond the step that it resumes from, so that each step is logged once.

    Args:
        out: Folder of the run.
        state: The run, at its start or resumption.
        show: Draw a progress bar on standard error, or write a line every 30 seconds where that is no terminal.
        every: Steps between lines.
    """

    def __init__(self, out: Path, state: State, *, show: bool, every: int = 25) -> None:
        self.out, self.every, self.show = out, every, show
        self.mark = (state.step, state.seconds)
        self.settings = state.settings
        self.first = state.step
        self.lines = Lines(out / METRICS_FILE)

    def __enter__(self) -> "Log":
        self.lines.keep_until(self.first)
        self.board = _board(self.out, self.first)
        drawn = self.show and sys.stderr.isatty()
        self.progress, self.next_line = _progress() if drawn else None, time.monotonic()
        if self.progress:
            self.progress.start()
            self.task = self.progress.add_task("", total=self.settings.steps, completed=self.first, loss=0.0, rate=0.0)
        return self

    def __exit__(self, *_: object) -> None:
        self.lines.close()
        if self.board:
            self._tell_board("close")
        if self.progress:
            self.progress.stop()

    def step(self, state: State, metrics: StepMetrics) -> None:
        """Record the metrics of a step; every few steps write their mean."""
        state.untold.append((metrics.loss, metrics.gradient))
        if state.step % self.every and state.step != self.settings.steps:
            return
        loss, gradient = (sum(values) / len(state.untold) for values in zip(*state.untold, strict=True))
        steps, seconds = state.step - self.mark[0], state.seconds - self.mark[1]
        rate = steps * self.settings.batch / max(seconds, 1e-9)
        state.untold, self.mark = [], (state.step, state.seconds)
        line = {
            "step": state.step,
            "loss": loss,
            "gradient": gradient,
            "lr": state.optimizer.param_groups[0]["lr"],
            "images_per_second": round(rate, 2),
            "seconds": round(state.seconds, 2),
        }
        self.lines.write(line)
        if self.board:
            for name in ("loss", "gradient", "lr", "images_per_second"):
                self._tell_board("add_scalar", name, line[name], state.step)
        if self.progress:
            self.progress.update(self.task, completed=state.step, loss=loss, rate=rate)
        elif self.show and (time.monotonic() >= self.next_line or state.step == self.settings.steps):
            self.next_line = time.monotonic() + _SECONDS
            left = (self.settings.steps - state.step) * self.settings.batch / max(rate, 1e-9) / 60
            line_now = f"step {state.step} of {self.settings.steps}, loss {loss:.4f}, {rate:.0f} images/s"
            sys.stderr.write(f"{line_now}, {left:.0f} min left\n")
            sys.stderr.flush()

    def validation(self, state: State, errors: dict[float, float], score: float) -> None:
        """Write the results of a validation; draw samples for TensorBoard."""
        best = state.best is not None and state.best[0] == state.step
        self.lines.write(
            {
                "step": state.step,
                "denoising": {f"{s:g}": e if math.isfinite(e) else None for s, e in errors.items()},
                "best": best,
            }
        )
        if self.board:
            prior = state.prior()
            for sigma, error in errors.items():
                self._tell_board("add_scalar", f"denoising/sigma {sigma:g}", error, state.step)
            self._tell_board("add_scalar", "denoising/mean over sigma squared", score, state.step)
            grid = patch_grid(sample(prior, 16, steps=12), prior.channels, span=prior.card.range)
            self._tell_board("add_image", "samples", grid, state.step, dataformats="HWC")

    def _tell_board(self, method: str, *values: Any, **more: Any) -> None:
        """Call a method of TensorBoard's writer; the run goes on without one that fails."""
        try:
            if self.board:
                getattr(self.board, method)(*values, **more)
        except (OSError, RuntimeError, ValueError) as error:  # on a full disk, of a thread that has ended
            self.board = None
            line = (str(error).splitlines() or [""])[0][:160]
            warnings.warn(f"{self.out / 'tensorboard'} cannot be written ({line}). It is not told more.", stacklevel=3)


@contextmanager
def interrupts() -> Iterator[threading.Event]:
    """Yield an event that SIGINT and SIGTERM set, so that the current step is finished and saved first."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    kinds = (signal.SIGINT, signal.SIGTERM)
    old = [signal.signal(kind, lambda *_: event.set()) for kind in kinds]
    try:
        yield event
    finally:
        for kind, handler in zip(kinds, old, strict=True):
            signal.signal(kind, handler)


def _board(out: Path, step: int) -> Any:
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(out / "tensorboard"), purge_step=step)


def _progress() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TextColumn("{task.fields[rate]:.0f} images/s"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        refresh_per_second=2,
    )
