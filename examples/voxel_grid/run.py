"""One fit of a voxel grid from a folder of photos to a folder of results."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from examples.nerf_fewshot.evaluate import summary, views_of, write_history, write_metrics, write_views
from examples.nerf_fewshot.run import device_name, make_writable
from examples.voxel_grid.fit import GridFit, fit_grid
from examples.voxel_grid.floaters import empty_points, floaters
from examples.voxel_grid.recipe import CPU, GPU, Recipe, Regularize
from scorereg import load_prior
from scorereg.scenes import Scene, load_scene

__all__ = ["run"]


def run(
    scene: Path,
    out: Path,
    *,
    regularize: str = "blocks",
    prior: str = "blocks-32",
    rgbd_prior: str = "rooms-rgbd-24",
    views: int = 3,
    steps: int | None = None,
    seed: int = 0,
    preset: str | None = None,
    scale: float | None = None,
    max_size: int | None = None,
) -> dict:
    """Fit, evaluate, and write `metrics.json`, `views/`, `grid.pt` and `history.jsonl` into `out`.

    Args:
        scene: An LLFF folder or one with transforms.json.
        out: The run's folder.
        regularize: `"none"`, `"tv"` (total variation), `"blocks"` (that and the prior over blocks of the grid) or
            `"blocks+rgbd"` (and the prior over rendered patches).
        prior: The prior over blocks.
        rgbd_prior: The prior over patches.
        views: Training views.
        steps: Of the fit.
        seed: Of everything that is random.
        preset: `"cpu"` or `"gpu"`.
        scale: Metres per unit of the scene's file.
        max_size: Most pixels of the photos' longer side.

    Returns:
        What `metrics.json` holds.

    Raises:
        ValueError: If an argument, the scene or a prior is not usable.
        OSError: If a file cannot be read or `out` cannot be written.
    """
    if regularize not in get_args(Regularize):
        raise ValueError(f"--regularize must be one of {', '.join(get_args(Regularize))}, but is {regularize!r}.")
    if preset not in (None, "cpu", "gpu"):
        raise ValueError(f"--preset must be cpu or gpu, but is {preset!r}.")
    device = "cuda" if torch.cuda.is_available() and preset != "cpu" else "cpu"
    preset = preset or {"cuda": "gpu", "cpu": "cpu"}[device]
    recipe = {"cpu": CPU, "gpu": GPU}[preset]
    recipe = replace(recipe, steps=recipe.steps if steps is None else steps)
    if recipe.steps < 1:
        raise ValueError(f"--steps must be at least 1, but is {steps}.")
    make_writable(out)
    loaded = load_scene(scene, views=views, scale=scale, max_size=max_size)
    blocks = load_prior(prior, device=device) if regularize in ("blocks", "blocks+rgbd") else None
    patches = load_prior(rgbd_prior, device=device) if regularize == "blocks+rgbd" else None
    fit = _fit(loaded.to(device), regularize, recipe, seed, blocks=blocks, patches=patches)
    shown = views_of(loaded, lambda rays: fit.image(rays.to(device)))
    metrics = {
        "scene": loaded.name, "regularize": regularize, "prior": prior if blocks is not None else None,
        "rgbd_prior": rgbd_prior if patches is not None else None, "preset": preset,
        **summary(shown), **_floaters(fit, loaded), "seconds": fit.seconds, "steps": recipe.steps, "seed": seed,
        "voxel": fit.field.voxel, "device": device_name(device), "threads": torch.get_num_threads(),
        "train": [loaded.filenames[i] for i in loaded.train], "near": loaded.near, "far": loaded.far,
        "scale": loaded.scale, "torch": torch.__version__,
    }  # fmt: skip
    write_history(fit.history, out)
    write_views(shown, out, loaded.near, loaded.far)
    _save_grid(fit, out / "grid.pt")
    write_metrics(metrics, out)
    return metrics


def _fit(scene: Scene, regularize: str, recipe: Recipe, seed: int, **priors) -> GridFit:
    """Fit, with progress on standard error."""
    console = Console(stderr=True)
    console.print(scene.describe(), highlight=False, soft_wrap=True)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeRemainingColumn(),
        console=console,
    ) as progress:  # fmt: skip
        task = progress.add_task(regularize, total=recipe.steps, note="")

        def report(values: dict[str, float | int]) -> None:
            note = f"step {values['step']:.0f}  training PSNR {values['psnr']:.1f}"
            progress.update(task, completed=values["step"] + 1, note=note)

        return fit_grid(scene, recipe=recipe, seed=seed, variation=regularize != "none", report=report, **priors)


def _floaters(fit: GridFit, scene: Scene) -> dict[str, float | None]:
    """In the space that the true depth of all views, of training and test, shows to be free."""
    if scene.depth is None:
        return {"floater_mass": None, "floater_share": None}
    points = empty_points(scene.depth, scene.cameras, near=scene.near)
    return floaters(lambda piece: fit.field.density(piece.to(fit.field.low)), points)


def _save_grid(fit: GridFit, path: Path) -> None:
    beside = path.with_suffix(".part")
    torch.save(fit.field.state_dict(), beside)
    beside.replace(path)
