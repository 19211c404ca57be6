"""`scorereg fit`: fit a radiance field to a few photos of a scene, with or without a diffusion prior."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from scorereg.cli.options import (
    Alpha,
    Depth,
    Log,
    MaxSize,
    Members,
    ObjectOnly,
    OutFolder,
    Preset,
    Resume,
    RgbdPrior,
    Scale,
    Scene,
    Seed,
    Steps,
    Video,
    Views,
)
from scorereg.cli.options import Device as DeviceName
from scorereg.cli.options import option as opt
from scorereg.cli.prior_facts import with_facts
from scorereg.cli.view import Host, Port, View, check_page, live_view, serve

__all__ = ["app_of", "command_of", "fit_command", "run_fit", "run_fit_views"]

BACKENDS = ("auto", "compiled", "eager", "tinycudann")


def run_fit_views(
    scene: Scene,
    out: OutFolder = Path("runs/fit"),
    *,
    views: Views = 3,
    max_size: MaxSize = None,
    scale: Scale = None,
    alpha: Alpha = "white",
    object_only: ObjectOnly = False,
    depth: Depth = "off",
    regularize: Annotated[
        str,
        opt("Prior", "none, geometric, prior (geometric terms and the priors), paper, or paper+prior.", unit="KIND"),
    ] = "prior",
    prior: RgbdPrior = "rooms-rgbd-24",
    ray_prior: Annotated[
        str, opt("Prior", "Prior over ray weights beside it: a shipped name, a folder, or none.", unit="PRIOR")
    ] = "rays-64",
    estimator: Annotated[
        str, opt("Prior", "Estimator of the score: direct, sds, sjc-unreduced, sdi or vsd.", unit="NAME")
    ] = "direct",
    gate: Annotated[
        float | None, opt("Prior", "Weaken patches beyond this quantile of clean ones, as 0.99.", "off", "QUANTILE")
    ] = None,
    preset: Preset = "cpu",
    steps: Steps = None,
    rays: Annotated[int | None, opt("Optimisation", "Photo rays a step.", "the preset's", "N")] = None,
    backend: Annotated[
        str, opt("Optimisation", "Encoder of the hash grid: auto, compiled, eager or tinycudann.", unit="NAME")
    ] = "auto",
    seed: Seed = 0,
    members: Members = 1,
    device: DeviceName = None,
    video: Video = 30,
    log: Log = None,
    view: View = False,
    port: Port = 8080,
    host: Host = "127.0.0.1",
    resume: Resume = False,
    d_min: Annotated[
        float | None, opt("Prior", "Depth at which the prior's disparity is 1.", "the card's", "METRES")
    ] = None,
    focal: Annotated[
        tuple[float, float] | None,
        opt("Prior", "Focal lengths of the prior's patches.", "the card's", "PIXELS PIXELS"),
    ] = None,
    facts: dict[str, Any] | None = None,
) -> tuple[dict, list]:
    """Fit, evaluate, and write a run into `out`: `fit.json`, weights, metrics, history, pictures and a video.

    With `regularize="prior"` there are two priors: `prior` over RGB-D patches, and `ray_prior` over the weights along
    photo rays, unless that is `"none"`; with `"paper+prior"` there is the first alone. With `depth`, the weight of
    `MeasuredDepth`, the measured depth of the training photos is fitted, and shown to the first prior. The arguments
    are the options of `scorereg fit`; what the files of the first prior do not say is `d_min`, `focal`, and `facts`,
    arguments of `load_prior`.

    Returns:
        What `metrics.json` holds, and the rendered test views.

    Raises:
        ValueError: If an argument or the scene is not usable.
        OSError: If a file cannot be read or `out` cannot be written.
    """
    from scorereg.callbacks import logs_of
    from scorereg.fit.fit import default_field
    from scorereg.fit.folder import choose_device, choose_preset, fit_to_folder, make_run_folder, with_steps
    from scorereg.fit.paper import on_paper_background
    from scorereg.fit.progress import in_words
    from scorereg.fit.recipe import PRESETS
    from scorereg.scenes import load_scene

    about = {"focal": focal, "facts": (facts or {}) | ({} if d_min is None else {"d_min": d_min})}
    _check(regularize, estimator, gate, rays, seed, backend, members)
    if not regularize.endswith("prior") and any(about.values()):
        raise ValueError(
            f"--focal, --d-min and what else is said of a prior mean nothing with --regularize {regularize}. "
            "Leave them out."
        )
    weight = _weight(depth)
    device, chosen = choose_device(device), choose_preset(preset, PRESETS)
    recipe = with_steps(chosen.recipe, steps)
    recipe = on_paper_background(recipe) if regularize.startswith("paper") else recipe
    recipe = recipe if rays is None else replace(recipe, rays=rays)
    report = logs_of(log or [], out, lines=out / "log.jsonl")
    check_page(view, port, host)
    make_run_folder(out, video=video)
    loaded = load_scene(
        scene, views, scale=scale, max_size=max_size, alpha=alpha, object_only=object_only,  # pyright: ignore
    )  # fmt: skip
    settings = {"patches": chosen.patches, "estimator": estimator, "gate": gate}
    terms = _terms(regularize, prior, ray_prior, device, weight, **about, **settings)
    names = {term.name for term in terms}
    told = {
        "regularize": regularize, "prior": prior if "prior" in names else None,
        "ray_prior": ray_prior if "ray_prior" in names else None, "estimator": estimator if "prior" in names else None,
        "gate": gate, "preset": preset, "rays": recipe.rays,
    }  # fmt: skip
    fields = [default_field(loaded, chosen.grid, backend=backend, seed=seed + k) for k in range(members)]  # pyright: ignore
    page = live_view(prior if "prior" in names else "none", port, host) if view else None
    result = fit_to_folder(
        loaded, out, field=fields, terms=terms, recipe=recipe, seed=seed, members=members, device=device, facts=told,
        video=video, resume=resume, report=report if page is None else [*report, page],
    )  # fmt: skip
    if page is not None:
        serve(page, f"{in_words(result[0], 'psnr', 'ssim', 'depth_abs_rel')}; shown at {page.address}")
    return result


@wraps(run_fit_views, assigned=("__module__", "__annotations__"))
def run_fit(*arguments: Any, **settings: Any) -> dict:
    """Fit a radiance field to a few photos, and write its renders and metrics on the held-out views."""
    return run_fit_views(*arguments, **settings)[0]


def command_of(run: Callable[..., dict], *metrics: str) -> Callable[..., None]:
    """Return a function that fits a scene as a command with its options, which prints some of the metrics in a line."""

    @wraps(run)
    def command(**settings: Any) -> None:
        from scorereg.fit.progress import in_words

        try:
            result = run(**settings)
        except KeyboardInterrupt:
            if (settings["out"] / "fit.pt").is_file():
                typer.echo(f"interrupted, saved in {settings['out']}; the same command with --resume goes on", err=True)
            raise typer.Exit(130) from None
        typer.echo(f"{in_words(result, *metrics)}: {settings['out']}")

    command.__doc__ = (run.__doc__ or "").partition("\n")[0]
    return with_facts(command) if "facts" in signature(run).parameters else command


def app_of(run: Callable[..., dict], *metrics: str) -> typer.Typer:
    """Return an application of that one command."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command_of(run, *metrics))
    return app


fit_command = command_of(run_fit, "psnr", "ssim", "depth_abs_rel")


def _check(regularize: str, estimator: str, gate: float | None, rays: int | None, seed: int, backend: str,
           members: int) -> None:  # fmt: skip
    from scorereg.estimators import EstimatorName
    from scorereg.fit import Regularize

    choices = {"regularize": (regularize, get_args(Regularize)), "estimator": (estimator, get_args(EstimatorName))}
    for name, (given, known) in (choices | {"backend": (backend, BACKENDS)}).items():
        if given not in known:
            raise ValueError(f"--{name} must be one of {', '.join(known)}, but is {given!r}.")
    if backend == "tinycudann" and find_spec("tinycudann") is None:
        raise ValueError("--backend tinycudann needs tiny-cuda-nn, which is not installed. Install it, or leave auto.")
    if not regularize.endswith("prior") and (estimator != "direct" or gate is not None):
        raise ValueError(
            f"--estimator and --gate are the prior's, so they mean nothing with --regularize {regularize}."
        )
    if rays is not None and rays < 1:
        raise ValueError(f"--rays must be at least 1, but is {rays}.")
    if not 1 <= members <= 100:
        raise ValueError(f"--members must be 1 to 100, but is {members}.")
    if not 0 <= seed < 2**63:
        raise ValueError(f"--seed must be from 0 to 2^63 - 1, but is {seed}.")


def _weight(depth: str) -> float | None:
    if depth == "off":
        return None
    try:
        weight = float(depth)
    except ValueError:
        weight = -1.0
    if not 0 < weight < float("inf"):
        raise ValueError(f"--depth must be a weight above 0, such as 0.1, or off, but is {depth!r}.")
    return weight


def _terms(
    regularize: str, prior: str, ray_prior: str, device: str, depth: float | None, *, facts: dict, **settings: Any
) -> list:
    """The terms of the fit; an unusable prior is named by its option, before the fit."""
    from scorereg.fit import PatchPrior, RayPrior, default_terms
    from scorereg.priors.load import load_prior

    without = {"prior": "geometric", "paper+prior": "paper"}
    terms = default_terms(regularize=without.get(regularize, regularize), depth=depth)  # pyright: ignore
    if regularize.endswith("prior"):
        with named_option(f"--prior {prior}"):
            loaded = load_prior(prior, device=device, **facts)
            terms.append(PatchPrior(loaded, depth=depth is not None, **settings))
        if ray_prior != "none" and regularize == "prior":
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
