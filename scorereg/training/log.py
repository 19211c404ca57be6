"""What a run tells while it goes on: its callbacks, `metrics.jsonl` and its progress; handling of interrupts."""

import copy
import math
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import torch

from scorereg._progress import bar, stage
from scorereg.callbacks import Callback, JsonLines, Report, Run, TensorBoard, as_callback, begun
from scorereg.evaluation.pictures import patch_grid
from scorereg.priors.sampling import sample
from scorereg.training.checkpoint import State
from scorereg.training.step import StepMetrics

__all__ = ["METRICS_FILE", "Log", "callback_of", "interrupts"]

METRICS_FILE = "metrics.jsonl"


def callback_of(report: Report, out: Path) -> Callback:
    """Return who is told of a run: `metrics.jsonl`, and `report` or, if that is None, TensorBoard where there is one.

    Args:
        report: As `train_prior` takes it.
        out: Folder of the run.

    Raises:
        ValueError: If `report` is no callback.
    """
    if report is None:
        report = [TensorBoard(out)] if find_spec("tensorboard") else []
    return as_callback([JsonLines(out / METRICS_FILE, counted=True), as_callback(report)])


class Log:
    """Tells the mean loss every few steps and the results of validations; a context manager.

    A resumed run removes the lines beyond the step that it resumes from, so that each step is told once.

    Args:
        state: The run, at its start or resumption.
        callback: Is told of it.
        show: Draw a progress bar where standard error is a terminal.
        every: Steps between lines.
    """

    def __init__(self, state: State, callback: Callback, *, show: bool = False, every: int = 25) -> None:
        self.callback, self.show, self.every = callback, show, every
        self.mark = (state.step, state.seconds)
        self.settings = state.settings
        self.run = Run(
            state.card.name, state.settings.steps, state.step, asdict(state.settings),
            snapshot=lambda: copy.deepcopy(state.prior()),
        )  # fmt: skip

    def __enter__(self) -> "Log":
        with ExitStack() as stack:
            stack.enter_context(begun(self.callback, self.run))
            shown = bar if self.show else stage
            self.shown = stack.enter_context(shown("training", self.settings.steps, done=self.run.first))
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def step(self, state: State, metrics: StepMetrics) -> None:
        """Record the metrics of a step; every few steps tell their mean."""
        state.untold.append((metrics.loss, metrics.gradient))
        self.shown.step()
        self.callback.step(state.step)
        if state.step % self.every and state.step != self.settings.steps:
            return
        loss, gradient = (sum(values) / len(state.untold) for values in zip(*state.untold, strict=True))
        steps, seconds = state.step - self.mark[0], state.seconds - self.mark[1]
        rate = steps * self.settings.batch / max(seconds, 1e-9)
        state.untold, self.mark = [], (state.step, state.seconds)
        self.shown.say(f"loss {loss:.4f}, {rate:.0f} images/s")
        self.callback.values(
            {
                "step": state.step,
                "loss": loss,
                "gradient": gradient,
                "lr": state.optimizer.param_groups[0]["lr"],
                "images_per_second": round(rate, 2),
                "seconds": round(state.seconds, 2),
            }
        )

    def validation(self, state: State, errors: dict[float, float], score: float) -> None:
        """Tell the results of a validation; draw samples where they are wanted."""
        best = state.best is not None and state.best[0] == state.step
        told = {f"{s:g}": e if math.isfinite(e) else None for s, e in errors.items()}
        score_told = score if math.isfinite(score) else None
        self.callback.values({"step": state.step, "denoising": told, "score": score_told, "best": best})
        if self.callback.pictures:
            prior = state.prior()
            grid = patch_grid(sample(prior, 16, steps=12), prior.channels, span=prior.card.range)
            self.callback.picture("samples", torch.from_numpy(grid).float() / 255, state.step)


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
