"""A fit that leaves a folder: metrics, history, pictures of the held-out views, the field and a video."""

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from scorereg.fit.fit import Fit, fit_scene
from scorereg.fit.progress import show_progress
from scorereg.fit.recipe import Recipe
from scorereg.fit.term import Term
from scorereg.fit.views import View, render_views, summary, write_run
from scorereg.rendering.volume import DensityFn
from scorereg.scenes import Scene

__all__ = ["choose_preset", "facts_of", "fit_to_folder", "make_run_folder", "with_steps"]

P = TypeVar("P")
WRITTEN = ("metrics.json", "history.jsonl", "field.pt", "fit.pt", "path.mp4")


def choose_preset(name: str | None, presets: Mapping[str, P]) -> tuple[str, P]:
    """Return a preset's name and the preset.

    Args:
        name: `"cpu"`, or `"gpu"`, a larger one; `"cpu"` on every device, if not given, as larger ones
            overfit few views.
        presets: Presets by name.

    Raises:
        ValueError: If the preset is unknown.
    """
    name = name or "cpu"
    if name not in presets:
        raise ValueError(f"--preset must be {' or '.join(presets)}, but is {name!r}.")
    return name, presets[name]


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
    clock: Callable[[], float] | None = None,
) -> tuple[dict, list[View]]:
    """Fit with a progress bar, render the test views, and write everything into `out`.

    Args:
        scene: As loaded; what it is gets printed.
        out: Folder that `make_run_folder` has made.
        terms: Passed to `fit_scene`, as are field, proposal, recipe, seed, resume and clock.
        recipe: Numbers of the loop.
        facts: Settings for `metrics.json`; `"regularize"` is also the progress bar's name.
        field: What is fitted.
        proposal: Density that tells where to sample.
        seed: Seeds everything that is drawn.
        device: Where to compute.
        video: Frames of the video; 0 writes none.
        resume: Resume the interrupted fit in `out`.
        also: Called with the fit and the rendered views before `metrics.json` is written; may return further metrics.
        clock: Source of seconds.

    Returns:
        What `metrics.json` holds, and the rendered test views.
    """
    with show_progress(scene, facts["regularize"], recipe.steps) as progress:
        progress.say("compiling")
        fit = fit_scene(
            scene, terms=terms, field=field, proposal=proposal, recipe=recipe, seed=seed, device=device,
            report=progress.report, save=out / "fit.pt", resume=resume, **({} if clock is None else {"clock": clock}),
        )  # fmt: skip
        progress.say("rendering the test views")
        views = render_views(fit.scene, fit.image)
    metrics = {**facts_of(scene, device), **facts, **summary(views)}
    metrics |= {"seconds": fit.seconds, "steps": recipe.steps, "seed": seed}
    if also is not None:
        metrics |= also(fit, views) or {}
    write_run(fit, views, metrics, out, video_frames=video)
    (out / "fit.pt").unlink()  # of use to an interrupted fit only
    return metrics, views


def facts_of(scene: Scene, device: str) -> dict:
    """Return what `metrics.json` says of the scene and the machine."""
    name = torch.cuda.get_device_name() if device == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    return {
        "scene": scene.name, "train": [scene.filenames[i] for i in scene.train], "near": scene.near, "far": scene.far,
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
