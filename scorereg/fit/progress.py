"""What a command shows while a scene is fitted: the scene, a progress bar, and the metrics in one line."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from scorereg._io import printable
from scorereg._progress import Stage, bar, told
from scorereg.callbacks import Callback, Values
from scorereg.fit.measured_depth import MeasuredDepth
from scorereg.fit.pixels import training_depth
from scorereg.fit.term import Term
from scorereg.fit.terms import PhotoConsistency
from scorereg.scenes import Scene

__all__ = ["ProgressBar", "in_words", "notes", "show_progress", "used_of"]

_TEXTS = {
    "psnr": ("PSNR {:.2f} dB", "no test pixel that counts"),
    "ssim": ("SSIM {:.3f}", "no SSIM"),
    "depth_abs_rel": ("depth abs-rel {:.3f}", "no true depth"),
    "floater_mass": ("floaters {:.3f} m^3", "no free space known"),
}


class ProgressBar(Callback):
    """Shows the steps of a fit on standard error; made by `show_progress`."""

    def __init__(self, shown: Stage) -> None:
        self._shown = shown

    def step(self, step: int) -> None:
        self._shown.done = step
        self._shown.step()

    def values(self, values: Values) -> None:
        self._shown.say(f"training PSNR {values['psnr']:.1f}" if "psnr" in values else None)

    def say(self, what: str) -> None:
        """Show what is being done."""
        self._shown.say("", what)


@contextmanager
def show_progress(scene: Scene, name: str, steps: int, terms: Sequence[Term] = ()) -> Iterator[ProgressBar]:
    """Print what the scene is and what of it is used, and show how far its fit is: a bar, or lines without a terminal.

    Args:
        scene: The scene.
        name: What the fit is called.
        steps: Number of its steps.
        terms: Its terms.
    """
    for line in (scene.describe(), *notes(scene, terms)):
        sys.stderr.write(f"{printable(line)}\n")
    sys.stderr.flush()
    with told(), bar(name, steps) as shown:
        yield ProgressBar(shown)


def used_of(scene: Scene, terms: Sequence[Term]) -> dict[str, float | None]:
    """Return what of the training photos a fit uses, for `metrics.json`.

    Returns:
        `masked`, the share of the pixels that masks leave out, None without masks; `depth`, the weight of the measured
        depth, and `depth_pixels`, the share of the pixels that have it, both None where no term uses it.
    """
    masked = None if scene.masks is None else 1 - scene.masks[list(scene.train)].float().mean().item()
    weight = next((term.weight for term in terms if isinstance(term, MeasuredDepth)), None)
    depth = None if weight is None else training_depth(scene)
    share = None if depth is None else (depth > 0).float().mean().item()
    return {"masked": masked, "depth": weight, "depth_pixels": share}


def notes(scene: Scene, terms: Sequence[Term]) -> list[str]:
    """Return what a user should know of how a scene is fitted, one line each: measured depth, a single photo."""
    used, lines, depth = used_of(scene, terms), [], training_depth(scene)
    if used["depth_pixels"] is not None:
        lines.append(f"measured depth is fitted, known at {used['depth_pixels']:.1%} of the training photos' pixels")
    elif depth is not None and depth.any():
        lines.append("measured depth of the training photos is not used (--depth fits it)")
    if len(scene.train) == 1 and any(isinstance(term, PhotoConsistency) for term in terms):
        lines.append("one training photo has no other to agree with: there is no stereo term")
    return lines


def in_words(metrics: dict, *names: str) -> str:
    """Return some of the metrics and the seconds as one line, with a word for each that could not be measured."""
    if not metrics["views"]:
        return f"no view was held out, so nothing is measured; pictures of training views, {metrics['seconds']:.0f} s"
    texts = (_TEXTS[name][1] if metrics[name] is None else _TEXTS[name][0].format(metrics[name]) for name in names)
    return f"{', '.join(texts)}, {metrics['seconds']:.0f} s"
