"""Fit Gaussian splats to a few photos of a scene, with or without a diffusion prior attached.

    python -m examples.own_renderer.splats SCENE --regularize prior --out runs/splats

SCENE is an LLFF folder (poses_bounds.npy and images_8) or one with a nerfstudio transforms.json.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from examples.own_renderer.splats.run import run
from scorereg.cli import one_line_errors
from scorereg.fit.progress import in_words

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    scene: Annotated[Path, typer.Argument(help="Folder with photos and poses.")],
    regularize: Annotated[str, typer.Option(help="none, geometric, prior (alone), or both.")] = "prior",
    prior: Annotated[str, typer.Option(help="A shipped prior's name, or a prior's folder.")] = "rooms-rgbd-24",
    views: Annotated[int, typer.Option(help="Training views; the scene's own split decides which.")] = 3,
    steps: Annotated[int | None, typer.Option(help="Optimisation steps; the preset's, if not given.")] = None,
    count: Annotated[int | None, typer.Option(help="Gaussians; the preset's number, if not given.")] = None,
    seed: Annotated[int, typer.Option(help="Seeds the Gaussians, the windows and the patches.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/splats"),
    preset: Annotated[str | None, typer.Option(help="cpu or gpu; by what is there, if not given.")] = None,
    scale: Annotated[
        float | None, typer.Option(help="Metres per unit of the scene's file; estimated, if not given.")
    ] = None,
    max_size: Annotated[
        int | None, typer.Option(help="Reduce photos to at most this many pixels on the longer side.")
    ] = None,
) -> None:
    """Fit Gaussian splats to a few photos and write what they are worth on the held-out views."""
    result = run(
        scene, out, regularize=regularize, prior=prior, views=views, steps=steps, count=count, seed=seed, preset=preset,
        scale=scale, max_size=max_size,
    )  # fmt: skip
    typer.echo(f"{in_words(result, 'psnr', 'depth_abs_rel')}: {out}")


if __name__ == "__main__":
    with one_line_errors():
        sys.exit(app())
