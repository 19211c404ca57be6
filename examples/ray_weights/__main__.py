"""Fit a radiance field to a few photos with a diffusion prior over the weights along a ray.

    python -m examples.ray_weights SCENE --regularize rays --out runs/rays

SCENE is as in examples.nerf_fewshot, and so is what is written.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from scorereg.cli import one_line_errors

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    scene: Annotated[Path, typer.Argument(help="Folder with photos and poses.")],
    regularize: Annotated[
        str, typer.Option(help="none, distortion, rays (the ray prior), both, or rgbd (both and the RGB-D prior).")
    ] = "rays",
    prior: Annotated[str, typer.Option(help="The ray prior: a shipped one's name, or a folder.")] = "rays-64",
    rgbd_prior: Annotated[str, typer.Option(help="The RGB-D prior of rgbd.")] = "rooms-rgbd-24",
    bare: Annotated[
        bool, typer.Option("--bare", help="Leave out the other geometric terms: opacity, frustum, consistency.")
    ] = False,
    views: Annotated[int, typer.Option(help="Training views; the scene's own split decides which.")] = 3,
    steps: Annotated[int | None, typer.Option(help="Optimisation steps; the preset's, if not given.")] = None,
    seed: Annotated[int, typer.Option(help="Seeds the field and the rays.")] = 0,
    weight: Annotated[float | None, typer.Option(help="Of the ray prior; tuned on other rooms, if not given.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/ray_weights"),
    preset: Annotated[str | None, typer.Option(help="cpu or gpu; by what is there, if not given.")] = None,
    scale: Annotated[
        float | None, typer.Option(help="Metres per unit of the scene's file; estimated, if not given.")
    ] = None,
    video: Annotated[int, typer.Option(help="Frames of the flight through the scene; 0 leaves it out.")] = 0,
) -> None:
    """Fit a radiance field with the weights along its rays regularised, and write what it is worth."""
    from examples.ray_weights.run import run
    from scorereg.fit.progress import in_words

    result = run(
        scene, out, regularize=regularize, prior=prior, rgbd_prior=rgbd_prior, bare=bare, views=views, steps=steps,
        seed=seed, weight=weight, preset=preset, scale=scale, video=video,
    )  # fmt: skip
    typer.echo(f"{in_words(result, 'psnr', 'depth_abs_rel')}: {out}")


if __name__ == "__main__":
    with one_line_errors():
        sys.exit(app())
