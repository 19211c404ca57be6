"""One fit of a voxel grid from a folder of photos to a folder of results."""

from pathlib import Path
from typing import get_args

import torch

from examples.nerf_fewshot.evaluate import clear, summary, views_of, write_history, write_metrics, write_views
from examples.nerf_fewshot.run import make_writable
from examples.nerf_fewshot.setting import by_preset, facts_of, progress_of
from examples.voxel_grid.fit import GridFit, fit_grid
from examples.voxel_grid.floaters import empty_points, floaters
from examples.voxel_grid.recipe import CPU, GPU, Regularize
from scorereg import load_prior
from scorereg._io import write_beside
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
    device, preset, recipe = by_preset(preset, CPU, GPU, steps)
    make_writable(out)
    loaded = load_scene(scene, views=views, scale=scale, max_size=max_size)
    blocks = load_prior(prior, device=device) if regularize in ("blocks", "blocks+rgbd") else None
    patches = load_prior(rgbd_prior, device=device) if regularize == "blocks+rgbd" else None
    with progress_of(loaded, regularize, recipe.steps) as progress:
        fit = fit_grid(
            loaded.to(device), recipe=recipe, seed=seed, variation=regularize != "none", report=progress.report,
            blocks=blocks, patches=patches,
        )  # fmt: skip
    shown = views_of(loaded, lambda rays: fit.image(rays.to(device)))
    metrics = {
        **facts_of(loaded, device), "regularize": regularize, "prior": prior if blocks is not None else None,
        "rgbd_prior": rgbd_prior if patches is not None else None, "preset": preset, **summary(shown),
        **_floaters(fit, loaded), "seconds": fit.seconds, "steps": recipe.steps, "seed": seed, "voxel": fit.field.voxel,
    }  # fmt: skip
    clear(out)
    write_history(fit.history, out)
    write_views(shown, out, loaded.near, loaded.far)
    write_beside(out / "grid.pt", lambda beside: torch.save(fit.field.state_dict(), beside))
    write_metrics(metrics, out)
    return metrics


def _floaters(fit: GridFit, scene: Scene) -> dict[str, float | None]:
    """In the space that the true depth of all views, of training and test, shows to be free."""
    if scene.depth is None:
        return {"floater_mass": None, "floater_share": None}
    points = empty_points(scene.depth, scene.cameras, near=scene.near)
    return floaters(lambda piece: fit.field.density(piece.to(fit.field.low)), points)
