"""Fit a radiance field to a few photos of a scene, with or without a diffusion prior: `scorereg fit` by another name.

python -m examples.nerf_fewshot SCENE --regularize prior --out runs/mine
"""

from scorereg.cli.errors import run_app
from scorereg.cli.fit import app_of, run_fit

app = app_of(run_fit, "psnr", "ssim", "depth_abs_rel")

if __name__ == "__main__":
    run_app(app, "scorereg")
