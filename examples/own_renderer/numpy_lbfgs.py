r"""A renderer in NumPy, optimised by SciPy's L-BFGS: a photo out of focus, made sharp again.

The camera blurs light, not the photo's gamma-encoded values v, so the model is not linear:

    y = G v^2.2 + noise,    data(v) = |G v^2.2 - y|^2 / (2 s^2)         G a Gaussian blur, s the noise

A depth camera took the same view, so the disparity of the RGB-D patch is known and only the colours move.

L-BFGS compares values along a line, and the value of `ScoreLoss` is no energy: its gradient `x - D(x)` need not be the
gradient of anything. Added to the data it sends a strong-Wolfe search astray. Hold D instead. Then

    x <- argmin_x  data(x) + |x - D|^2 / (2 sigma^2),    D = x - loss.gradient(x, sigma),    sigma falling

has an energy in every round, which L-BFGS minimises as it should; the prior is asked once a round, between the fits.
Source: half-quadratic splitting with a denoiser (Venkatakrishnan et al. 2013; Zhang et al. 2021, arXiv 2008.13751).

    python -m examples.own_renderer.numpy_lbfgs --out runs/deblurred
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from scipy.ndimage import gaussian_filter
from scipy.optimize import minimize

from examples.rgbd_frame import enlarged, read_frame
from scorereg import ScoreLoss, TiledPrior, load_prior, schedules
from scorereg.cli import one_line_errors
from scorereg.fit.pictures import labelled_grid, save

BLUR, NOISE, GAMMA = 1.5, 0.01, 2.2  # pixels, linear light, exponent
Array = np.ndarray
Energy = Callable[[Array], tuple[float, Array]]  # value and gradient


def blur(light: Array) -> Array:
    """Gaussian over height and width; with these borders it is its own adjoint."""
    return gaussian_filter(light, (0, BLUR, BLUR), mode="reflect")


def data_term(x: Array, seen: Array) -> tuple[float, Array]:
    """Half the squared residual over the noise's variance, and its gradient; x (3, h, w) in [-1, 1]."""
    v = (x + 1) / 2
    residual = (blur(v**GAMMA) - seen) / NOISE**2
    gradient = blur(residual) * GAMMA * v ** (GAMMA - 1) / 2
    return 0.5 * float((residual**2).sum()) * NOISE**2, gradient


def smoothness(x: Array, weight: float) -> tuple[float, Array]:
    """Half the weighted sum of squared differences of neighbours: the usual hand-made term, for comparison."""
    gradient = np.zeros_like(x)
    value = 0.0
    for axis in (1, 2):
        step = np.diff(x, axis=axis)
        value += weight / 2 * float((step**2).sum())
        pad = [(0, 0)] * 3
        pad[axis] = (1, 1)
        gradient -= weight * np.diff(np.pad(step, pad), axis=axis)
    return value, gradient


def lbfgs(x: Array, energy: Energy, iterations: int) -> Array:
    """Minimise over x in [-1, 1]."""

    def flat(values: Array) -> tuple[float, Array]:
        value, gradient = energy(values.reshape(x.shape))
        return value, gradient.ravel()

    found = minimize(
        flat, x.ravel(), jac=True, method="L-BFGS-B", bounds=[(-1, 1)] * x.size, options={"maxiter": iterations}
    )
    return found.x.reshape(x.shape)


def both(x: Array, seen: Array, term: tuple[float, Array]) -> tuple[float, Array]:
    """The data and another term."""
    value, gradient = data_term(x, seen)
    return value + term[0], gradient + term[1]


def with_prior(start: Array, seen: Array, disparity: Array, rounds: int) -> Array:
    """Alternate between the denoiser at a fixed sigma and a fit that is pulled towards what it said."""
    sigma = schedules.log_linear(0.2, 0.02, start=0, end=max(rounds - 1, 1))
    loss = ScoreLoss(TiledPrior(load_prior("rooms-rgbd-24"), overlap=8), sigma=sigma, weight=torch.square)
    known = np.array([False, False, False, True]).reshape(1, 4, 1, 1)
    x = start
    for step in range(rounds):
        patch = np.concatenate([x, disparity])[None]
        denoised = (patch - loss.gradient(patch, step=step, known=known))[0, :3]
        pull = 1 / sigma(step) ** 2

        def energy(x: Array, denoised: Array = denoised, pull: float = pull) -> tuple[float, Array]:
            away = x - denoised
            return both(x, seen, (pull / 2 * float((away**2).sum()), pull * away))

        x = lbfgs(x, energy, 20)
    return x


def psnr(x: Array, truth: Array) -> float:
    """Peak signal-to-noise ratio of colours in [0, 1], in dB."""
    return float(-10 * np.log10(np.mean(((x - truth) / 2) ** 2)))


def main(
    out: Annotated[Path, typer.Option(help="Folder of the picture.")] = Path("runs/own_renderer"),
    steps: Annotated[int, typer.Option(help="Rounds with the prior.")] = 8,
    seed: Annotated[int, typer.Option(help="Seeds the camera's noise.")] = 0,
) -> dict[str, float]:
    """Sharpen a photo that was taken out of focus, without a prior, with smoothness, and with the prior."""
    frame = read_frame()
    truth = 2 * frame.rgb.double().numpy() - 1
    disparity = 2 * frame.disparity.double().numpy()[None] - 1
    light = blur(frame.rgb.double().numpy() ** GAMMA)
    seen = light + NOISE * np.random.default_rng(seed).standard_normal(light.shape)
    start = 2 * seen.clip(1e-4, 1) ** (1 / GAMMA) - 1

    results = {"blurred": start, "data alone": lbfgs(start, lambda x: data_term(x, seen), 20 * steps)}
    smooth = [
        lbfgs(start, lambda x, w=w: both(x, seen, smoothness(x, w)), 20 * steps) for w in (3.0, 10.0, 30.0, 100.0)
    ]
    results["smooth"] = max(smooth, key=lambda x: psnr(x, truth))  # the best weight, as only the truth can tell
    results["prior"] = with_prior(start, seen, disparity, steps)
    errors = {name: psnr(x, truth) for name, x in results.items()}
    for name, value in errors.items():
        typer.echo(f"{name:<12}{value:6.2f} dB")
    out.mkdir(parents=True, exist_ok=True)
    shown = {f"{name} {errors[name]:.1f} dB": x for name, x in results.items()} | {"truth": truth}
    images = [torch.from_numpy((x.transpose(1, 2, 0) + 1) / 2).float()[20:76, 30:114] for x in shown.values()]
    big = [enlarged(image, 3) for image in images]
    save(labelled_grid([("a part", [*big])], list(shown)), out / "numpy_lbfgs.png")
    return errors


if __name__ == "__main__":
    with one_line_errors():
        typer.run(main)
