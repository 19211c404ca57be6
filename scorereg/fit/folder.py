"""A fit that leaves a folder: card and weights, metrics, history, pictures of views, a contact sheet and a video.

Where no view is held out, nothing is measured.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from scorereg._device import choose_device
from scorereg._io import check_folder, check_names, hold_folder
from scorereg.callbacks import Report, as_callback
from scorereg.fit.checkpoint import SavedFit
from scorereg.fit.fit import fit_scene
from scorereg.fit.fitted import Fit
from scorereg.fit.progress import in_words, show_progress, used_of
from scorereg.fit.recipe import Recipe
from scorereg.fit.results import write_run
from scorereg.fit.term import Term
from scorereg.fit.views import RESULTS, View, render_views, summary
from scorereg.rendering.volume import DensityFn
from scorereg.scenes import Scene

__all__ = [
    "choose_device",
    "choose_preset",
    "facts_of",
    "fit_to_folder",
    "make_run_folder",
    "some_of",
    "with_steps",
]

P = TypeVar("P")
MOST_SHOWN = 12  # pictures of training views
STATE = "fit.pt"
WRITTEN = (*RESULTS, "history.jsonl", STATE, "fit.previous.pt")


def choose_preset(name: str, presets: Mapping[str, P]) -> P:
    """Return a preset by its name. The larger ones overfit few views, so no device takes them by itself.

    Raises:
        ValueError: If the preset is unknown.
    """
    if name not in presets:
        raise ValueError(f"--preset must be {' or '.join(presets)}, but is {name!r}.")
    return presets[name]


def with_steps(recipe: P, steps: int | None) -> P:
    """Return a recipe, a dataclass with `steps`, for another number of steps where one is given.

    Raises:
        ValueError: If the steps are fewer than 1.
    """
    if steps is not None and steps < 1:
        raise ValueError(f"--steps must be at least 1, but is {steps}.")
    return recipe if steps is None else replace(recipe, steps=steps)  # pyright: ignore[reportArgumentType]


def fit_to_folder(
    scene: Scene,
    out: Path,
    *,
    terms: Sequence[Term],
    recipe: Recipe,
    facts: dict,
    field: nn.Module | Sequence[nn.Module] | None = None,
    proposal: DensityFn | None = None,
    seed: int = 0,
    members: int = 1,
    device: str = "cpu",
    video: int = 0,
    resume: bool = False,
    also: Callable[[Fit, list[View]], dict | None] | None = None,
    cpu_time: bool = False,
    report: Report = None,
) -> tuple[dict, list[View]]:
    """Fit with a progress bar, render views, and write everything into `out`, which no other run may use.

    Where results cannot be written, the state of the fit is kept, and the same call with `resume` writes them. Where
    that could not be written either, all files that can be are.

    Args:
        scene: As loaded; what it is gets printed.
        out: Folder that `make_run_folder` has made.
        terms: Passed to `fit_scene`, as are field, proposal, recipe, seed, members and resume.
        recipe: Numbers of the loop.
        facts: Settings for `metrics.json`; `"regularize"` is also the progress bar's name.
        field: What is fitted.
        proposal: Density that tells where to sample.
        seed: Seeds everything that is drawn.
        members: Fields of an ensemble.
        device: Where to compute.
        video: Frames of the video; 0 writes none.
        resume: Resume the interrupted fit in `out`.
        also: Called with the fit and the rendered views before `metrics.json` is written; may return further metrics.
        cpu_time: Count the seconds of this process on the processor, in place of those on the clock.
        report: Callbacks that are told of the fit beside the progress bar; as of `fit_scene`.

    Returns:
        What `metrics.json` holds, and the rendered test views.

    Raises:
        ValueError: As `fit_scene`.
        OSError: If another run holds `out`, or a result cannot be written.
    """
    with hold_folder(out):
        return _fit_to_folder(
            scene, out, terms=terms, recipe=recipe, facts=facts, field=field, proposal=proposal, seed=seed,
            members=members, device=device, video=video, resume=resume, also=also, cpu_time=cpu_time, report=report,
        )  # fmt: skip


def _fit_to_folder(
    scene: Scene,
    out: Path,
    *,
    terms: Sequence[Term],
    recipe: Recipe,
    facts: dict,
    seed: int,
    members: int,
    device: str,
    video: int,
    also: Callable[[Fit, list[View]], dict | None] | None,
    cpu_time: bool,
    report: Report,
    **fitted: Any,
) -> tuple[dict, list[View]]:
    with show_progress(scene, facts["regularize"], recipe.steps, terms) as progress:
        fit = fit_scene(
            scene, terms=terms, recipe=recipe, seed=seed, members=members, device=device,
            report=[progress, as_callback(report)], save=out / STATE,
            clock=time.process_time if cpu_time else time.monotonic, **fitted,
        )  # fmt: skip
    image = partial(fit.image, spread=True)
    views, trained = render_views(fit.scene, image), render_views(fit.scene, image, some_of(scene.train))
    metrics = {**facts_of(scene, device), **used_of(scene, terms), **facts, **summary(views)}
    metrics |= {"seconds": fit.seconds, "steps": recipe.steps, "seed": seed, "members": members}
    if also is not None:
        metrics |= also(fit, views) or {}
    saved = SavedFit(out / STATE, {})
    try:
        write_run(fit, views, trained, metrics, out, video_frames=video, whole=saved.exists())
    except OSError as error:
        after = "The fit is saved: the same command with --resume writes the rest."
        words = in_words(metrics, *(name for name in ("psnr", "ssim", "depth_abs_rel") if name in metrics))
        raise OSError(f"{error} {after if saved.exists() else f'What was measured: {words}.'}") from None
    saved.remove()
    return metrics, views


def some_of(train: tuple[int, ...]) -> tuple[int, ...]:
    """Return up to 12 of the training views, spread evenly: those that are shown."""
    count = min(len(train), MOST_SHOWN)
    return tuple(train[i * len(train) // count] for i in range(count))


def facts_of(scene: Scene, device: str) -> dict:
    """Return what `metrics.json` says of the scene and the machine."""
    name = torch.cuda.get_device_name() if device == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    return {
        "scene": scene.name, "train": [scene.filenames[i] for i in scene.train],
        "test": [scene.filenames[i] for i in scene.test], "near": scene.near, "far": scene.far,
        "scale": scene.scale, "device": name, "threads": torch.get_num_threads(), "torch": torch.__version__,
    }  # fmt: skip


def make_run_folder(out: Path, *, video: int = 0) -> None:
    """Make the folder of a run, and see that everything can be written before anything is computed.

    Raises:
        OSError: If it cannot be written.
        ValueError: If a package is missing that writes the pictures or the video.
    """
    needed = {"matplotlib": "matplotlib", "skimage": "scikit-image"}
    if video > 0:
        needed["imageio_ffmpeg"] = "imageio[ffmpeg]"
    missing = [package for module, package in needed.items() if find_spec(module) is None]
    if missing:
        raise ValueError(
            f"a fit's pictures and metrics need {', '.join(missing)}. Install them: pip install 'scorereg[fit]'"
            f"{'; --video 0 needs no imageio' if video else ''}."
        )
    check_names(*(out / name for name in WRITTEN))
    check_folder(out)
    check_folder(out / "views")
    with hold_folder(out):  # that of a run in progress is refused before the scene and the priors are loaded
        pass
