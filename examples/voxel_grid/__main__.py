"""Fit a voxel grid to a few photos of a scene, regularised by a diffusion prior over blocks of its densities.

    python -m examples.voxel_grid SCENE --regularize blocks --out runs/mine

Scenes and results are those of `scorereg fit`.
"""

from functools import wraps

import typer

from examples.voxel_grid.run import run
from scorereg.cli.errors import run_app
from scorereg.fit.progress import in_words

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help="Fit a voxel grid to a few photos, and write its metrics on the held-out views.")
@wraps(run)  # the same options
def main(**settings) -> None:
    """Run, and print a line of metrics."""
    typer.echo(f"{in_words(run(**settings), 'psnr', 'depth_abs_rel', 'floater_mass')}: {settings['out']}")


if __name__ == "__main__":
    run_app(app, "scorereg")
