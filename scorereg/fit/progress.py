"""What a command shows while a scene is fitted: the scene, a progress bar, and the metrics in one line."""

from collections.abc import Iterator
from contextlib import contextmanager

from scorereg.scenes import Scene

__all__ = ["ProgressBar", "in_words", "show_progress"]

_TEXTS = {
    "psnr": ("PSNR {:.2f} dB", "no test views"),
    "ssim": ("SSIM {:.3f}", "no SSIM"),
    "depth_abs_rel": ("depth abs-rel {:.3f}", "no true depth"),
    "floater_mass": ("floaters {:.3f} m^3", "no free space known"),
}


class ProgressBar:
    """A progress bar on standard error; made by `show_progress`."""

    def __init__(self, progress, name: str, steps: int) -> None:
        self._progress, self._task = progress, progress.add_task(name, total=steps, note="")

    def report(self, values: dict[str, float | int]) -> None:
        """Show a step's number and the PSNR of its photo rays; `report` of `fit_scene`."""
        note = f"step {values['step']:.0f}  training PSNR {values['psnr']:.1f}"
        self._progress.update(self._task, completed=values["step"] + 1, note=note)

    def say(self, note: str) -> None:
        """Show what is being done."""
        self._progress.update(self._task, note=note)


@contextmanager
def show_progress(scene: Scene, name: str, steps: int) -> Iterator[ProgressBar]:
    """Print what the scene is, and show a bar while its fit goes on."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    console.print(scene.describe(), highlight=False, soft_wrap=True)
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeRemainingColumn()
    with Progress(*columns, console=console) as progress:
        yield ProgressBar(progress, name, steps)


def in_words(metrics: dict, *names: str) -> str:
    """Return some of the metrics and the seconds as one line, with a word for each that could not be measured."""
    texts = (_TEXTS[name][1] if metrics[name] is None else _TEXTS[name][0].format(metrics[name]) for name in names)
    return f"{', '.join(texts)}, {metrics['seconds']:.0f} s"
