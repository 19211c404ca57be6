"""`scorereg fit`: fit a radiance field to a few photos of a scene, with or without a diffusion prior."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

if TYPE_CHECKING:
    from scorereg.fit.views import View

__all__ = ["fit_command", "run_fit", "run_fit_views"]

BACKENDS = ("auto", "compiled", "eager", "tinycudann")


def fit_command(
    scene: Annotated[Path, typer.Argument(help="Folder with photos and poses.")],
    views: Annotated[int, typer.Option(help="Training views; the scene's own split decides which.")] = 3,
    regularize: Annotated[
        str, typer.Option(help="none, geometric, or prior (geometric terms and the prior).")
    ] = "prior",
    prior: Annotated[str, typer.Option(help="A shipped prior's name, or a prior's folder.")] = "rooms-rgbd-24",
    ray_prior: Annotated[
        str, typer.Option(help="The prior over ray weights beside it: a name, a folder, or none.")
    ] = "rays-64",
    estimator: Annotated[
        str, typer.Option(help="How the score is estimated: direct, sds, sjc-unreduced, sdi or vsd.")
    ] = "direct",
    gate: Annotated[
        float | None, typer.Option(help="Weaken patches beyond this quantile of clean ones, such as 0.99.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimisation steps; the preset's, if not given.")] = None,
    rays: Annotated[int | None, typer.Option(help="Photo rays a step; the preset's, if not given.")] = None,
    seed: Annotated[int, typer.Option(help="Seeds the field, the rays and the patches.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/fit"),
    preset: Annotated[str | None, typer.Option(help="cpu, or gpu: larger; cpu, if not given.")] = None,
    scale: Annotated[
        float | None, typer.Option(help="Metres per unit of the scene's file; estimated, if not given.")
    ] = None,
    max_size: Annotated[
        int | None, typer.Option(help="Reduce photos to at most this many pixels on the longer side.")
    ] = None,
    backend: Annotated[str, typer.Option(help="Of the hash grid: auto, compiled, eager or tinycudann.")] = "auto",
    video: Annotated[int, typer.Option(help="Frames of the video; 0 writes none.")] = 30,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the interrupted fit in --out.")] = False,
) -> None:
    """Fit a radiance field to a few photos, and write its renders and metrics on the held-out views."""
    from scorereg.fit.progress import in_words

    try:
        result = run_fit(
            scene, out, views=views, regularize=regularize, prior=prior, estimator=estimator, ray_prior=ray_prior,
            gate=gate, steps=steps, rays=rays, seed=seed, preset=preset, scale=scale, max_size=max_size,
            backend=backend, video=video, resume=resume,
        )  # fmt: skip
    except KeyboardInterrupt:
        if (out / "fit.pt").is_file():
            typer.echo(f"interrupted, saved in {out}; the same command with --resume goes on", err=True)
        raise typer.Exit(130) from None
    typer.echo(f"{in_words(result, 'psnr', 'ssim', 'depth_abs_rel')}: {out}")


def run_fit(scene: Path, out: Path, **settings: Any) -> dict:
    """Do what `run_fit_views` does; return the metrics alone."""
    return run_fit_views(scene, out, **settings)[0]


def run_fit_views(
    scene: Path,
    out: Path,
    *,
    views: int = 3,
    regularize: str = "prior",
    prior: str = "rooms-rgbd-24",
    ray_prior: str = "rays-64",
    estimator: str = "direct",
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
) -> tuple[dict, "list[View]"]:
    """Fit, evaluate, and write `metrics.json`, `views/`, `field.pt`, `history.jsonl` and `path.mp4` into `out`.

    With `regularize="prior"` there are two priors: `prior` over RGB-D patches, and `ray_prior` over the weights along
    photo rays, unless that is `"none"`.

    Returns:
        What `metrics.json` holds, and the rendered test views.

    Raises:
        ValueError: If an argument or the scene is not usable.
        OSError: If a file cannot be read or `out` cannot be written.
    """
    import torch

    from scorereg.fit.fit import default_field
    from scorereg.fit.folder import choose_preset, fit_to_folder, make_run_folder, with_steps
    from scorereg.fit.recipe import PRESETS
    from scorereg.scenes import load_scene

    _check(regularize, estimator, gate, rays, seed, backend)
    preset, chosen = choose_preset(preset, PRESETS)
    recipe = with_steps(chosen.recipe, steps)
    recipe = recipe if rays is None else replace(recipe, rays=rays)
    make_run_folder(out, video=video)
    loaded = load_scene(scene, views=views, scale=scale, max_size=max_size)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    terms = _terms(regularize, prior, ray_prior, device, patches=chosen.patches, estimator=estimator, gate=gate)
    used = {term.name: term for term in terms}
    facts = {
        "regularize": regularize, "prior": prior if "prior" in used else None,
        "ray_prior": ray_prior if "ray_prior" in used else None, "estimator": estimator if "prior" in used else None,
        "gate": gate, "preset": preset, "rays": recipe.rays,
    }  # fmt: skip
    field = default_field(loaded, chosen.grid, backend=backend, seed=seed)  # pyright: ignore[reportArgumentType]
    return fit_to_folder(
        loaded, out, field=field, terms=terms, recipe=recipe, seed=seed, device=device, facts=facts, video=video,
        resume=resume,
    )  # fmt: skip


def _check(regularize: str, estimator: str, gate: float | None, rays: int | None, seed: int, backend: str) -> None:
    from scorereg.estimators import EstimatorName
    from scorereg.fit import Regularize

    choices = {"regularize": (regularize, get_args(Regularize)), "estimator": (estimator, get_args(EstimatorName))}
    for name, (given, known) in (choices | {"backend": (backend, BACKENDS)}).items():
        if given not in known:
            raise ValueError(f"--{name} must be one of {', '.join(known)}, but is {given!r}.")
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


def _terms(regularize: str, prior: str, ray_prior: str, device: str, **settings: Any) -> list:
    """The terms of the fit; an unusable prior is named by its option, before the fit."""
    from scorereg.fit.patch_prior import PatchPrior
    from scorereg.fit.ray_prior import RayPrior
    from scorereg.fit.terms import geometric_terms, photo_terms
    from scorereg.priors.load import load_prior

    terms = photo_terms()
    if regularize != "none":
        terms += geometric_terms()
    if regularize == "prior":
        loaded = load_prior(prior, device=device)
        with named_option(f"--prior {prior}"):
            terms.append(PatchPrior(loaded, **settings))
        if ray_prior != "none":
            loaded = load_prior(ray_prior, device=device)
            with named_option(f"--ray-prior {ray_prior}"):
                terms.append(RayPrior(loaded))
    return terms


@contextmanager
def named_option(option: str) -> Iterator[None]:
    """Put the option that gave an unusable value before the error's text."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None
