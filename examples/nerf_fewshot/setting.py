"""What every example that fits a scene does around its fit: where to run, progress, facts, and a line at the end."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol, TypeVar

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from scorereg.scenes import Scene

__all__ = ["Shown", "by_preset", "facts_of", "in_words", "progress_of"]

_TEXTS = {
    "psnr": ("PSNR {:.2f} dB", "no test views"),
    "ssim": ("SSIM {:.3f}", "no SSIM"),
    "depth_abs_rel": ("depth abs-rel {:.3f}", "no true depth"),
    "floater_mass": ("floaters {:.3f} m^3", "no free space known"),
}


class _Steps(Protocol):
    @property
    def steps(self) -> int: ...


_Recipe = TypeVar("_Recipe", bound=_Steps)


def by_preset(preset: str | None, cpu: _Recipe, gpu: _Recipe, steps: int | None) -> tuple[str, str, _Recipe]:
    """Return the device, the preset's name, by what is there if not given, and its recipe with so many steps.

    Raises:
        ValueError: If the preset is unknown or the steps are fewer than 1.
    """
    if preset not in (None, "cpu", "gpu"):
        raise ValueError(f"--preset must be cpu or gpu, but is {preset!r}.")
    device = "cuda" if torch.cuda.is_available() and preset != "cpu" else "cpu"
    preset = preset or {"cuda": "gpu", "cpu": "cpu"}[device]
    recipe = {"cpu": cpu, "gpu": gpu}[preset]
    recipe = replace(recipe, steps=recipe.steps if steps is None else steps)  # pyright: ignore[reportArgumentType]
    if recipe.steps < 1:
        raise ValueError(f"--steps must be at least 1, but is {steps}.")
    return device, preset, recipe


class Shown:
    """A progress bar on standard error."""

    def __init__(self, progress: Progress, name: str, steps: int) -> None:
        self._progress, self._task = progress, progress.add_task(name, total=steps, note="")

    def report(self, values: dict[str, float | int]) -> None:
        """Of a step: its number and the photo rays' PSNR."""
        note = f"step {values['step']:.0f}  training PSNR {values['psnr']:.1f}"
        self._progress.update(self._task, completed=values["step"] + 1, note=note)

    def say(self, note: str) -> None:
        """What is done now."""
        self._progress.update(self._task, note=note)


@contextmanager
def progress_of(scene: Scene, name: str, steps: int) -> Iterator[Shown]:
    """Print what the scene is, and show a bar while its fit goes on."""
    console = Console(stderr=True)
    console.print(scene.describe(), highlight=False, soft_wrap=True)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeRemainingColumn(),
        console=console,
    ) as progress:  # fmt: skip
        yield Shown(progress, name, steps)


def facts_of(scene: Scene, device: str) -> dict:
    """What `metrics.json` says of the scene and the machine."""
    name = torch.cuda.get_device_name() if device == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    return {
        "scene": scene.name, "train": [scene.filenames[i] for i in scene.train], "near": scene.near, "far": scene.far,
        "scale": scene.scale, "device": name, "threads": torch.get_num_threads(), "torch": torch.__version__,
    }  # fmt: skip


def in_words(metrics: dict, *names: str) -> str:
    """Some of the metrics and the seconds in one line; what could not be measured is said."""
    texts = (_TEXTS[name][1] if metrics[name] is None else _TEXTS[name][0].format(metrics[name]) for name in names)
    return f"{', '.join(texts)}, {metrics['seconds']:.0f} s"
