"""Fit Gaussian splats to a few photos of a scene, with or without a diffusion prior attached.

    python -m examples.own_renderer.splats SCENE --regularize prior --out runs/splats

Scenes are those of `scorereg fit`.
"""

from functools import wraps

import typer

from examples.own_renderer.splats.run import run
from scorereg.cli.errors import run_app
from scorereg.fit.progress import in_words

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help="Fit Gaussian splats to a few photos, and write their metrics on the held-out views.")
@wraps(run)  # the same options
def main(**settings) -> None:
    """Run, and print a line of metrics."""
    typer.echo(f"{in_words(run(**settings), 'psnr', 'depth_abs_rel')}: {settings['out']}")


if __name__ == "__main__":
    run_app(app, "scorereg")
