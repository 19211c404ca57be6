"""Fit a radiance field to a few photos of a scene, with or without a diffusion prior: `scorereg fit` by another name.

    python -m examples.nerf_fewshot SCENE --regularize prior --out runs/mine

SCENE is an LLFF folder (poses_bounds.npy and images_8) or one with a nerfstudio transforms.json.
"""

import sys

import typer

from scorereg.cli import one_line_errors
from scorereg.cli.fit import fit_command

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(fit_command)

if __name__ == "__main__":
    with one_line_errors():
        sys.exit(app())
