"""Fit a radiance field to a few photos with a diffusion prior over the weights along a ray.

    python -m examples.ray_weights SCENE --regularize rays --out runs/rays

Scenes and results are those of `scorereg fit`.
"""

from examples.ray_weights.run import run
from scorereg.cli.errors import run_app
from scorereg.cli.fit import app_of

app = app_of(run, "psnr", "depth_abs_rel")

if __name__ == "__main__":
    run_app(app, "scorereg")
