"""Fit a voxel grid to a few photos of a scene, regularised by a diffusion prior over blocks of its densities.

    python -m examples.voxel_grid SCENE --regularize blocks --out runs/mine

Scenes and results are those of `scorereg fit`.
"""

from examples.voxel_grid.run import run
from scorereg.cli.errors import run_app
from scorereg.cli.fit import app_of

app = app_of(run, "psnr", "depth_abs_rel", "floater_mass")

if __name__ == "__main__":
    run_app(app, "scorereg")
