"""Fit a radiance field to a few photos with a diffusion prior over the weights along a ray.

    python -m examples.ray_weights SCENE --regularize rays --out runs/rays

Scenes and results are those of `scorereg fit`.
"""

from functools import wraps

import typer

from examples.ray_weights.run import run
from scorereg.cli.errors import run_app
from scorereg.fit.progress import in_words

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help="Fit a radiance field with the weights along its rays regularised, and write its metrics.")
@wraps(run)  # the same options
def main(**settings) -> None:
    """Run, and print a line of metrics."""
    typer.echo(f"{in_words(run(**settings), 'psnr', 'depth_abs_rel')}: {settings['out']}")


if __name__ == "__main__":
    run_app(app, "scorereg")
