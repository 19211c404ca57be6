"""Fit Gaussian splats to a few photos of a scene, with or without a diffusion prior attached.

    python -m examples.own_renderer.splats SCENE --regularize prior --out runs/splats

Scenes are those of `scorereg fit`.
"""

from examples.own_renderer.splats.run import run
from scorereg.cli.errors import run_app
from scorereg.cli.fit import app_of

app = app_of(run, "psnr", "depth_abs_rel")

if __name__ == "__main__":
    run_app(app, "scorereg")
