"""Fit a radiance field to a few photos of a scene, with or without a diffusion prior: `scorereg fit` by another name.

python -m examples.nerf_fewshot SCENE --regularize prior --out runs/mine
"""

import typer

from scorereg.cli.errors import run_app
from scorereg.cli.fit import fit_command

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(fit_command)

if __name__ == "__main__":
    run_app(app, "scorereg")
