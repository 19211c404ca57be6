"""Fit a radiance field to a few photos of a scene, with or without a diffusion prior.

    python -m examples.nerf_fewshot SCENE --regularize prior --out runs/mine

SCENE is an LLFF folder (poses_bounds.npy and images_8) or one with a nerfstudio transforms.json.
"""

import sys
from pathlib import Path
from typing import Annotated, get_args

import typer

from scorereg.cli import one_line_errors

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
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
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/nerf_fewshot"),
    preset: Annotated[str | None, typer.Option(help="cpu or gpu; by what is there, if not given.")] = None,
    scale: Annotated[
        float | None, typer.Option(help="Metres per unit of the scene's file; estimated, if not given.")
    ] = None,
    max_size: Annotated[
        int | None, typer.Option(help="Reduce photos to at most this many pixels on the longer side.")
    ] = None,
    backend: Annotated[str, typer.Option(help="Of the hash grid: auto, compiled, eager or tinycudann.")] = "auto",
    video: Annotated[int, typer.Option(help="Frames of the flight through the scene; 0 leaves it out.")] = 30,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a fit that was cut off in --out.")] = False,
) -> None:
    """Fit a radiance field to a few photos and write what it is worth on the held-out views."""
    from examples.nerf_fewshot.run import run
    from examples.nerf_fewshot.setting import in_words
    from scorereg.estimators import Name
    from scorereg.fit import Regularize

    if regularize not in get_args(Regularize):
        raise ValueError(f"--regularize must be one of {', '.join(get_args(Regularize))}, but is {regularize!r}.")
    if estimator not in get_args(Name):
        raise ValueError(f"--estimator must be one of {', '.join(get_args(Name))}, but is {estimator!r}.")
    try:
        result = run(
            scene, out, views=views, regularize=regularize, prior=prior, estimator=estimator,
            ray_prior=ray_prior, gate=gate, steps=steps, rays=rays, seed=seed, preset=preset,
            scale=scale, max_size=max_size, backend=backend, video=video,
            resume=resume,
        )  # fmt: skip
    except KeyboardInterrupt:
        if (out / "fit.pt").is_file():
            typer.echo(f"interrupted, saved in {out}; the same command with --resume goes on", err=True)
        raise typer.Exit(130) from None
    typer.echo(f"{in_words(result, 'psnr', 'ssim', 'depth_abs_rel')}: {out}")


if __name__ == "__main__":
    with one_line_errors():
        sys.exit(app())
