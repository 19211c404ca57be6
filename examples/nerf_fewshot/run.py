"""One fit from a folder of photos to a folder of results."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from examples.nerf_fewshot.evaluate import View, render_views, summary, write
from examples.nerf_fewshot.setting import by_preset, facts_of, progress_of
from scorereg import NetworkPrior, RayWeights, load_prior
from scorereg.estimators import Name
from scorereg.fit import CPU, GPU, Extra, Fit, Recipe, Regularize, fit_scene
from scorereg.fit.patch_prior import patch_transform
from scorereg.fit.ray_prior import RayTerm
from scorereg.priors import WrappedPrior
from scorereg.scenes import Scene, load_scene

__all__ = ["fit_to_folder", "make_writable", "ray_term", "run", "run_views"]

WRITTEN = ("metrics.json", "history.jsonl", "field.pt", "fit.pt", "path.mp4")
BACKENDS = ("auto", "compiled", "eager", "tinycudann")


def run(scene: Path, out: Path, **settings) -> dict:
    """As `run_views`, and returns the metrics alone."""
    return run_views(scene, out, **settings)[0]


def run_views(
    scene: Path,
    out: Path,
    *,
    views: int = 3,
    regularize: Regularize = "prior",
    prior: str = "rooms-rgbd-24",
    ray_prior: str = "rays-64",
    estimator: Name = "direct",
    gate: float | None = None,
    steps: int | None = None,
    rays: int | None = None,
    seed: int = 0,
    preset: str | None = None,
    scale: float | None = None,
    max_size: int | None = None,
    backend: str = "auto",
    video: int = 30,
    resume: bool = False,
) -> tuple[dict, list[View]]:
    """Fit, evaluate, and write `metrics.json`, `views/`, `field.pt`, `history.jsonl` and `path.mp4` into `out`.

    With `regularize="prior"` there are two: `prior` over RGB-D patches, and `ray_prior` over the weights along photo
    rays, unless that is `"none"`.

    Returns:
        What `metrics.json` holds, and the rendered test views.

    Raises:
        ValueError: If an argument or the scene is not usable.
        OSError: If a file cannot be read or `out` cannot be written.
    """
    device, preset, recipe = by_preset(preset, CPU, GPU, steps)
    if backend not in BACKENDS:
        raise ValueError(f"--backend must be one of {', '.join(BACKENDS)}, but is {backend!r}.")
    if backend == "tinycudann" and find_spec("tinycudann") is None:
        raise ValueError("--backend tinycudann needs tiny-cuda-nn, which is not installed. Install it, or leave auto.")
    if regularize != "prior" and (estimator != "direct" or gate is not None):
        raise ValueError(
            f"--estimator and --gate are the prior's, so they mean nothing with --regularize {regularize}."
        )
    if rays is not None and rays < 1:
        raise ValueError(f"--rays must be at least 1, but is {rays}.")
    if not 0 <= seed < 2**63:
        raise ValueError(f"--seed must be from 0 to 2^63 - 1, but is {seed}.")
    recipe = replace(recipe, rays=rays or recipe.rays, backend=backend, estimator=estimator, gate=gate)
    make_writable(out)
    loaded = load_scene(scene, views=views, scale=scale, max_size=max_size)
    trained = _patch_prior(prior, recipe, device) if regularize == "prior" else None
    lines = None
    if trained is not None and ray_prior != "none":
        with _about(f"--ray-prior {ray_prior}"):
            lines = ray_term(ray_prior, loaded, recipe.steps, device)
    facts = {
        "regularize": regularize, "prior": prior if trained is not None else None,
        "ray_prior": ray_prior if lines is not None else None,
        "estimator": None if trained is None else estimator, "gate": gate, "preset": preset, "rays": recipe.rays,
    }  # fmt: skip
    return fit_to_folder(
        loaded, trained, out, regularize=regularize, recipe=recipe, seed=seed, device=device, facts=facts,
        video=video, resume=resume, extra=lines,
    )  # fmt: skip


def _patch_prior(name: str, recipe: Recipe, device: str) -> NetworkPrior | WrappedPrior:
    prior = load_prior(name, device=device)
    with _about(f"--prior {name}"):
        patch_transform(prior.card, recipe)
    return prior


@contextmanager
def _about(option: str) -> Iterator[None]:
    """Say of an unusable value which option gave it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None


def ray_term(name: str, scene: Scene, steps: int, device: str, **settings) -> RayTerm:
    """Return the term of a prior over ray weights, by its name or folder, in a fit of so many steps."""
    prior = load_prior(name, device=device)
    transform = RayWeights.for_card(prior.card)
    return RayTerm(prior, transform, near=scene.near, far=scene.far, steps=steps, **settings)


def fit_to_folder(
    scene: Scene,
    prior: NetworkPrior | WrappedPrior | None,
    out: Path,
    *,
    regularize: Regularize,
    recipe: Recipe,
    seed: int,
    device: str,
    facts: dict,
    video: int = 0,
    resume: bool = False,
    extra: Extra | None = None,
    also: Callable[[Fit], None] | None = None,
) -> tuple[dict, list[View]]:
    """Fit with progress, render the test views, and write everything into `out`.

    Args:
        scene: As loaded; what it is gets printed.
        prior: For `fit_scene`.
        out: A folder that can be written.
        regularize: For `fit_scene`.
        recipe: For `fit_scene`.
        seed: For `fit_scene`.
        device: Where to compute.
        facts: What `metrics.json` says of the settings; `"regularize"` is also what the progress bar is called.
        video: Frames of the flight.
        resume: Go on with the fit that was cut off in `out`.
        extra: For `fit_scene`.
        also: Writes what else there is to write of the fit, before `metrics.json` says that all is there.

    Returns:
        What `metrics.json` holds, and the rendered test views.
    """
    with progress_of(scene, facts["regularize"], recipe.steps) as progress:
        progress.say("compiling")
        fit = fit_scene(
            scene, prior, regularize=regularize, recipe=recipe, seed=seed, device=device, report=progress.report,
            save=out / "fit.pt", resume=resume, extra=extra,
        )  # fmt: skip
        progress.say("rendering the test views")
        shown = render_views(fit)
    if also is not None:
        also(fit)
    metrics = {
        **facts_of(scene, device), **facts, **summary(shown), "seconds": fit.seconds, "steps": recipe.steps,
        "seed": seed,
    }  # fmt: skip
    write(fit, shown, metrics, out, video_frames=video)
    (out / "fit.pt").unlink()  # of use to a fit that was cut off only
    return metrics, shown


def make_writable(out: Path) -> None:
    """Make the folder of a run.

    Raises:
        OSError: If it cannot be written.
    """
    taken = [out / name for name in WRITTEN if (out / name).is_dir()]
    if taken:
        raise OSError(f"{taken[0]} is a folder, where a file is to be written. Move it away, or choose another --out.")
    try:
        (out / "views").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise OSError(f"{out} cannot be written ({os.strerror(error.errno or 0)}). Choose another --out.") from None
