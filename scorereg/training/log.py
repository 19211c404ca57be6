"""Metrics of a run as JSON lines, TensorBoard and progress; handling of interrupts."""

import importlib.util
import json
import math
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from scorereg._io import write_beside
from scorereg.evaluation.pictures import patch_grid
from scorereg.priors.sampling import sample
from scorereg.training.checkpoint import State
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
        self.metrics: list[StepMetrics] = []
        self.mark = (state.step, state.seconds)
        self.settings = state.settings
        self.first = state.step

    def __enter__(self) -> "Log":
        path = self.out / METRICS_FILE
        kept = _lines_until(path, self.first)
        write_beside(path, lambda p: p.write_text("".join(kept), encoding="utf-8"))
        self.file = path.open("a", encoding="utf-8")
        self.board = _board(self.out, self.first)
        drawn = self.show and sys.stderr.isatty()
        self.progress, self.next_line = _progress() if drawn else None, time.monotonic()
        if self.progress:
            self.progress.start()
            self.task = self.progress.add_task("", total=self.settings.steps, completed=self.first, loss=0.0, rate=0.0)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # a full disk, which was warned of
            self.file.close()
        if self.board:
            self.board.close()
        if self.progress:
            self.progress.stop()

    def step(self, state: State, metrics: StepMetrics) -> None:
        """Record the metrics of a step; every few steps write their mean."""
        self.metrics.append(metrics)
        if state.step % self.every and state.step != self.settings.steps:
            return
        loss, gradient = (sum(values) / len(self.metrics) for values in zip(*self.metrics, strict=True))
        steps, seconds = state.step - self.mark[0], state.seconds - self.mark[1]
        rate = steps * self.settings.batch / max(seconds, 1e-9)
        self.metrics, self.mark = [], (state.step, state.seconds)
        line = {
            "step": state.step,
            "loss": loss,
            "gradient": gradient,
            "lr": state.optimizer.param_groups[0]["lr"],
            "images_per_second": round(rate, 2),
            "seconds": round(state.seconds, 2),
        }
        self._write(line)
        if self.board:
            for name in ("loss", "gradient", "lr", "images_per_second"):
                self.board.add_scalar(name, line[name], state.step)
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
        self._write(
            {
                "step": state.step,
                "denoising": {f"{s:g}": e if math.isfinite(e) else None for s, e in errors.items()},
                "best": best,
            }
        )
        if self.board:
            prior = state.prior()
            for sigma, error in errors.items():
                self.board.add_scalar(f"denoising/sigma {sigma:g}", error, state.step)
            self.board.add_scalar("denoising/mean over sigma squared", score, state.step)
            grid = patch_grid(sample(prior, 16, steps=12), prior.channels, span=prior.card.range)
            self.board.add_image("samples", grid, state.step, dataformats="HWC")

    def _write(self, line: dict[str, Any]) -> None:
        try:
            self.file.write(json.dumps(line) + "\n")
            self.file.flush()
        except OSError as error:
            warnings.warn(f"{self.out / METRICS_FILE} cannot be written ({error.strerror}).", stacklevel=2)


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


def _lines_until(path: Path, step: int) -> list[str]:
    if not path.exists():
        return []
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):  # half a line of a run that was killed while writing
            continue
    return kept


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
