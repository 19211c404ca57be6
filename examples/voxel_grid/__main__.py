"""Fit a voxel grid to a few photos of a scene, regularised by a diffusion prior over blocks of its densities.

    python -m examples.voxel_grid SCENE --regularize blocks --out runs/mine

SCENE is an LLFF folder (poses_bounds.npy and images_8) or one with a nerfstudio transforms.json.
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
        str, typer.Option(help="none, tv (total variation), blocks (and the 3-D prior), or blocks+rgbd (and both).")
    ] = "blocks",
    prior: Annotated[str, typer.Option(help="The prior over blocks: a shipped one's name, or a folder.")] = "blocks-32",
    rgbd_prior: Annotated[str, typer.Option(help="The prior over patches of blocks+rgbd.")] = "rooms-rgbd-24",
    views: Annotated[int, typer.Option(help="Training views; the scene's own split decides which.")] = 3,
    steps: Annotated[int | None, typer.Option(help="Optimisation steps; the preset's, if not given.")] = None,
    seed: Annotated[int, typer.Option(help="Seeds the rays, the blocks and the patches.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/voxel_grid"),
    preset: Annotated[str | None, typer.Option(help="cpu or gpu; by what is there, if not given.")] = None,
    scale: Annotated[
        float | None, typer.Option(help="Metres per unit of the scene's file; estimated, if not given.")
    ] = None,
    max_size: Annotated[
        int | None, typer.Option(help="Reduce photos to at most this many pixels on the longer side.")
    ] = None,
) -> None:
    """Fit a voxel grid to a few photos and write what it is worth on the held-out views."""
    from examples.voxel_grid.run import run
    from scorereg.fit.progress import in_words

    result = run(
        scene, out, regularize=regularize, prior=prior, rgbd_prior=rgbd_prior, views=views, steps=steps, seed=seed,
        preset=preset, scale=scale, max_size=max_size,
    )  # fmt: skip
    typer.echo(f"{in_words(result, 'psnr', 'depth_abs_rel', 'floater_mass')}: {out}")


if __name__ == "__main__":
    with one_line_errors():
        sys.exit(app())
