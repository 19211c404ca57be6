"""A fit that leaves a folder: metrics, history, pictures of the held-out views, the field and a video.

Where no view is held out, nothing is measured, and the pictures are of training views.
"""

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from scorereg.fit.fit import Fit, fit_scene
from scorereg.fit.progress import show_progress, used_of
from scorereg.fit.recipe import Recipe
from scorereg.fit.term import Term
from scorereg.fit.views import View, render_views, summary, write_run
from scorereg.rendering.volume import DensityFn
from scorereg.scenes import Scene

__all__ = [
    "TRAINING",
    "choose_device",
    "choose_preset",
    "facts_of",
    "fit_to_folder",
    "make_run_folder",
    "some_of",
    "with_steps",
]

P = TypeVar("P")
MOST_SHOWN, TRAINING = 12, "train-"  # pictures of training views, and what their names begin with
WRITTEN = ("metrics.json", "history.jsonl", "field.pt", "fit.pt", "path.mp4")


def choose_device(name: str | None) -> str:
    """Return `"cuda"` where there is a GPU and `"cpu"` elsewhere, unless a device is named.

    Raises:
        ValueError: If the device is neither, or is not there.
    """
    if name not in (None, "cpu", "cuda"):
        raise ValueError(f"--device must be cpu or cuda, but is {name!r}.")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda needs an NVIDIA GPU that torch can use, and there is none. Leave it out.")
    return name or ("cuda" if torch.cuda.is_available() else "cpu")


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
    field: nn.Module | None = None,
    proposal: DensityFn | None = None,
    seed: int = 0,
    device: str = "cpu",
    video: int = 0,
    resume: bool = False,
    also: Callable[[Fit, list[View]], dict | None] | None = None,
    cpu_time: bool = False,
) -> tuple[dict, list[View]]:
    """Fit with a progress bar, render the test views, and write everything into `out`.

    Args:
        scene: As loaded; what it is gets printed.
        out: Folder that `make_run_folder` has made.
        terms: Passed to `fit_scene`, as are field, proposal, recipe, seed and resume.
        recipe: Numbers of the loop.
        facts: Settings for `metrics.json`; `"regularize"` is also the progress bar's name.
        field: What is fitted.
        proposal: Density that tells where to sample.
        seed: Seeds everything that is drawn.
        device: Where to compute.
        video: Frames of the video; 0 writes none.
        resume: Resume the interrupted fit in `out`.
        also: Called with the fit and the rendered views before `metrics.json` is written; may return further metrics.
        cpu_time: Count the seconds of this process on the processor, in place of those on the clock.

    Returns:
        What `metrics.json` holds, and the rendered test views.
    """
    with show_progress(scene, facts["regularize"], recipe.steps, terms) as progress:
        progress.say("compiling")
        fit = fit_scene(
            scene, terms=terms, field=field, proposal=proposal, recipe=recipe, seed=seed, device=device,
            report=progress.report, save=out / "fit.pt", resume=resume,
            clock=time.process_time if cpu_time else time.monotonic,
        )  # fmt: skip
        progress.say("rendering the test views" if scene.test else "rendering training views")
        views = render_views(fit.scene, fit.image)
        shown = views or render_views(fit.scene, fit.image, some_of(scene.train))
    metrics = {**facts_of(scene, device), **used_of(scene, terms), **facts, **summary(views)}
    metrics |= {"seconds": fit.seconds, "steps": recipe.steps, "seed": seed}
    if also is not None:
        metrics |= also(fit, views) or {}
    write_run(fit, shown, metrics, out, video_frames=video, prefix="" if views else TRAINING)
    (out / "fit.pt").unlink()  # of use to an interrupted fit only
    return metrics, views


def some_of(train: tuple[int, ...]) -> tuple[int, ...]:
    """Return up to 12 of the training views, spread evenly: those that are shown where no view is held out."""
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
    taken = [out / name for name in WRITTEN if (out / name).is_dir()]
    if taken:
        raise OSError(f"{taken[0]} is a folder, where a file is to be written. Move it away, or choose another --out.")
    try:
        (out / "views").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise OSError(f"{out} cannot be written ({os.strerror(error.errno or 0)}). Choose another --out.") from None
