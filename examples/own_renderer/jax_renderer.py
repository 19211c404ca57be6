"""A renderer in JAX: a distance sensor of few zones, and the depth of every pixel from it and a photo.

The sensor is of the kind that phones have: it sends a flash and counts, for each zone of 8 x 8 pixels, how much light
comes back after which time. Time is distance, so a zone's answer is a histogram of what it sees, weighted by
1 / distance^2; which pixel is where in the zone it does not say.

    h[zone, bin] = sum over the zone's pixels of k(bin - time(z)) / z^2        k a pulse, bins even in time

`jax.grad` differentiates it. The prior enters by `hook`, an identity on the RGB-D patch whose backward pass adds the
gradient that `loss.gradient` returns for a JAX array; `jax.pure_callback` calls it from within the compiled step. The
photo is known, the disparity moves.

    python -m examples.own_renderer.jax_renderer --out runs/zones
"""

# pyright: reportMissingImports=false
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import typer

from examples.rgbd_frame import D_MIN, read_frame
from scorereg import ScoreLoss, TiledPrior, load_prior, schedules
from scorereg.cli import one_line_errors
from scorereg.fit.pictures import labelled_grid, paint_depth, paint_error, save

ZONE, BINS, FARTHEST = 8, 48, 8.0  # pixels, bins, metres
NOISE = 0.003  # of a bin, where all of a zone one metre away in one bin would be 1


def render(disparity: jax.Array) -> jax.Array:
    """Histograms (rows, columns, bins) of the zones of a disparity map (h, w)."""
    h, w = disparity.shape
    z = D_MIN / disparity
    edges = (jnp.arange(BINS) + 0.5) * FARTHEST / BINS
    pulse = jnp.exp(-0.5 * ((z[..., None] - edges) * BINS / FARTHEST) ** 2)
    light = pulse / z[..., None] ** 2
    return light.reshape(h // ZONE, ZONE, w // ZONE, ZONE, BINS).mean((1, 3))


def hook(loss: ScoreLoss) -> Any:
    """An identity on patches (b, 4, h, w), `hook(patch, step)`, whose backward pass adds the prior's gradient."""
    known = np.array([True, True, True, False]).reshape(1, 4, 1, 1)

    def gradient(patch: jax.Array, step: jax.Array) -> jax.Array:
        """On the host, where the arrays hold numbers."""
        return loss.gradient(patch, step=int(step), known=known)

    def identity(patch: jax.Array, step: jax.Array) -> jax.Array:
        return patch

    def backward(saved: tuple[jax.Array, jax.Array], arriving: jax.Array) -> tuple[jax.Array, None]:
        shape = jax.ShapeDtypeStruct(arriving.shape, arriving.dtype)
        return arriving + jax.pure_callback(gradient, shape, *saved), None

    hooked = jax.custom_vjp(identity)
    hooked.defvjp(lambda patch, step: (patch, (patch, step)), backward)
    return hooked


def fit(start: jax.Array, seen: jax.Array, photo: jax.Array, hook: Any, steps: int) -> np.ndarray:
    """Adam on the logarithm of the disparity, with `jax.grad` of the data term and whatever `hook` adds to it."""

    def data(log_disparity: jax.Array, step: jax.Array) -> jax.Array:
        patch = hook(2 * jnp.concatenate([photo, jnp.exp(log_disparity)[None]])[None] - 1, step)
        return 0.5 * jnp.sum((render((patch[0, 3] + 1) / 2) - seen) ** 2) / NOISE**2

    @jax.jit
    def update(state: tuple[jax.Array, ...], step: jax.Array) -> tuple[jax.Array, ...]:
        x, mean, square = state
        gradient = jax.grad(data)(x, step)
        mean, square = 0.9 * mean + 0.1 * gradient, 0.99 * square + 0.01 * gradient**2
        rate = 0.02 * (1 - 0.9 * step / steps) / (1 - 0.9 ** (step + 1))
        return x - rate * mean / (jnp.sqrt(square / (1 - 0.99 ** (step + 1))) + 1e-8), mean, square

    x = jnp.log(start)
    state = (x, jnp.zeros_like(x), jnp.zeros_like(x))
    for step in range(steps):
        state = update(state, jnp.asarray(step))
    return np.asarray(jnp.exp(state[0]))


def main(
    out: Annotated[Path, typer.Option(help="Folder of the picture.")] = Path("runs/own_renderer"),
    steps: Annotated[int, typer.Option(help="Steps of Adam.")] = 150,
    seed: Annotated[int, typer.Option(help="Seeds the sensor's noise.")] = 0,
) -> dict[str, float]:
    """Find the depth of every pixel from zones of 64, without a prior and with it."""
    frame = read_frame()
    h, w = (side // ZONE * ZONE for side in frame.disparity.shape)
    truth, photo = frame.disparity.numpy()[:h, :w], jnp.asarray(frame.rgb[:, :h, :w])
    clean = render(jnp.asarray(truth))
    seen = clean + NOISE * jax.random.normal(jax.random.key(seed), clean.shape)
    metres = (jnp.arange(BINS) + 0.5) * FARTHEST / BINS
    strength = jnp.maximum(seen, 0) * metres**2  # of the light that comes back, were it not for 1 / z^2
    zones = D_MIN / (metres[jnp.argmax(strength * (seen > 3 * NOISE), -1)])
    start = jax.image.resize(zones, truth.shape, "linear")

    loss = ScoreLoss(
        TiledPrior(load_prior("rooms-rgbd-24"), overlap=8),
        sigma=schedules.log_linear(0.1, 0.02, start=0, end=max(steps - 1, 1)),
        weight=4.0,
    )
    results = {
        "zones": np.asarray(start),
        "no prior": fit(start, seen, photo, lambda patch, step: patch, steps),
        "prior": fit(start, seen, photo, hook(loss), steps),
    }
    errors = {}
    for name, disparity in results.items():
        errors[name] = float(np.mean(np.abs(truth / disparity - 1)))
        typer.echo(f"{name:<10}relative depth error {errors[name]:.4f}")
    big = {name: x.repeat(2, 0).repeat(2, 1) for name, x in (results | {"truth": truth}).items()}
    depths = {name: torch.tensor(D_MIN / disparity) for name, disparity in big.items()}
    near, far = float(depths["truth"].min()), float(depths["truth"].max())
    rows: list[tuple[str, list[torch.Tensor | None]]] = [
        ("depth", [paint_depth(depth, near, far) for depth in depths.values()]),
        ("error,\nwhite: 30 %", [paint_error(depth, depths["truth"], 0.3) for depth in depths.values()]),
    ]
    out.mkdir(parents=True, exist_ok=True)
    names = [f"{name} {100 * errors[name]:.1f} %" for name in results]
    save(labelled_grid(rows, [*names, "truth"]), out / "jax_renderer.png")
    return errors


if __name__ == "__main__":
    with one_line_errors():
        typer.run(main)
