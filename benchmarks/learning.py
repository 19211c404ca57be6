"""Denoising error after an equal time of the processor: our networks, with and without their start, and a rival.

    python -m benchmarks.learning DATA... [--held-out FOLDER] [--seconds 60] [--runs tiny,small,...] [--json]

    tiny, small, base    as `scorereg train-prior --network` trains them, learning rate and start by its recipe
    NAME-plain           the same network from the denoiser of single pixels (`--no-linear`)
    rival-DIM            denoising-diffusion-pytorch's Unet of that width, as `learning_rival` has it

All see the same patches in the same order, batches of 32, one thread. The number of steps of a run follows from the
time of its first steps, so that a falling learning rate ends with the time; the processor's time of all steps is told.
Errors are squared errors on patches that nobody trained on over those of the best linear filter: of the full covariance
of training patches, which is harder than the stationary filter of `scorereg evaluate`.
"""

import json
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from benchmarks.learning_rival import rival
from scorereg.data.open import open_source
from scorereg.data.source import Source
from scorereg.training.batches import BatchDataset, RankShare, batches
from scorereg.training.card import make_card
from scorereg.training.checkpoint import new_state
from scorereg.training.settings import Settings, recipe_settings
from scorereg.training.start import with_spectrum
from scorereg.training.step import train_step

__all__ = ["covariance_filter", "errors", "trained"]

SIGMAS = (0.02, 0.05, 0.1, 0.2, 0.5)
WARM = 4  # steps whose time tells the number of all
BATCH = 32

Denoise = Callable[[Tensor, Tensor], Tensor]


def covariance_filter(x: Tensor) -> Denoise:
    """The best linear denoiser of patches, by the covariance of all their values."""
    flat = x.flatten(1)
    mean = flat.mean(0)
    values, vectors = torch.linalg.eigh(((flat - mean).T @ (flat - mean) / len(flat)).double())
    values, vectors = values.clamp(min=0).float(), vectors.float()

    def denoise(noisy: Tensor, sigma: Tensor) -> Tensor:
        inside = (noisy.flatten(1) - mean) @ vectors
        gain = values / (values + sigma[:, None] ** 2)
        return ((inside * gain) @ vectors.T + mean).reshape(noisy.shape)

    return denoise


@torch.no_grad()
def errors(denoise: Denoise, x: Tensor, chunk: int = 100) -> list[float]:
    """Mean squared errors at the noise levels, the noise the same for all denoisers."""
    generator, found = torch.Generator().manual_seed(1), []
    for sigma in SIGMAS:
        noisy = x + sigma * torch.randn(x.shape, generator=generator)
        out = [denoise(part, torch.full((len(part),), sigma)) for part in noisy.split(chunk)]
        found.append((torch.cat(out) - x).square().mean().item())
    return found


def trained(run: str, source: Source, seconds: float, channels: str) -> tuple[Denoise, dict[str, Any]]:
    """Train for a time; return the denoiser of the averaged weights, and what is to be told of the run."""
    if run.startswith("rival-"):
        start = lambda steps: rival(int(run.removeprefix("rival-")), steps, source, BATCH)  # noqa: E731
    else:
        size, _, plain = run.partition("-")
        start = lambda steps: _ours(size, steps, source, channels, linear=not plain)  # noqa: E731
    loop, _ = start(1000)
    took = _time(loop, WARM)
    steps = max(int(seconds / (took / WARM)), 2 * WARM)
    loop, result = start(steps)
    took = _time(loop, steps)
    denoise, weights = result()
    return denoise, {
        "run": run,
        "steps": steps,
        "cpu_seconds": round(took, 1),
        "million_weights": round(weights / 1e6, 2),
    }


def _time(loop: Iterator[None], steps: int) -> float:
    """Seconds of the processor for so many steps."""
    began = told = time.process_time()
    for step in range(steps):
        next(loop)
        if time.process_time() - told > 20:
            told = time.process_time()
            typer.echo(f"step {step + 1} of {steps}, {told - began:.0f} s", err=True)
    return time.process_time() - began


def _ours(
    size: str, steps: int, source: Source, channels: str, *, linear: bool
) -> tuple[Iterator[None], Callable[[], tuple[Denoise, int]]]:
    """Our loop of a run of so many steps, and what returns the denoiser with the number of its weights."""
    from accelerate import Accelerator

    settings = recipe_settings(
        "edm", network_size=size, steps=steps, batch=BATCH, channels=channels, linear=linear, precision="fp32", ema=0.98
    )
    card = with_spectrum(make_card(size, settings, source.about), settings, source)
    state = new_state(card, settings, precision="fp32")
    accelerator = Accelerator(cpu=True)
    draws = BatchDataset(source, settings, RankShare.of(settings))

    def loop() -> Iterator[None]:
        for parts in batches(draws, 0, device=torch.device("cpu"), workers=0):
            train_step(state, state.loss, parts, accelerator)
            yield

    def result() -> tuple[Denoise, int]:
        prior: Any = state.prior()
        return prior.denoise, sum(value.numel() for value in prior.network.parameters())

    return loop(), result


def main(
    data: Annotated[list[Path], typer.Argument(help="Folders of frames to train on.")],
    held_out: Annotated[list[Path] | None, typer.Option(help="Frames to measure on; else those kept out.")] = None,
    seconds: Annotated[float, typer.Option(help="Processor's time of each run.")] = 60.0,
    runs: Annotated[str, typer.Option(help="Names, with commas.")] = "tiny,tiny-plain,small,small-plain,rival-16",
    channels: Annotated[str, typer.Option(help="Channels of the patches.")] = "rgb",
    patches: Annotated[int, typer.Option(help="Patches to measure on.")] = 1500,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the error of each run over the linear filter's, at five noise levels."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    source = open_source(data, Settings(channels=channels).patch_spec, held_out)
    name = source.measured[1] if held_out else source.measured[0]
    x, _ = source.plain(name, patches, seed=7)
    linear = covariance_filter(source.batch(24_000, seed=8, step=0, slot=0)[0])
    base = errors(linear, x)
    about = {"data": [path.name for path in data], "measured on": name, "patches": len(x), "channels": channels}
    about |= {"torch": torch.__version__, "device": f"{platform.machine()} CPU, one thread", "sigma": SIGMAS}
    rows = []
    for run in runs.split(","):
        denoise, row = trained(run, source, seconds, channels)
        row["ratios"] = [round(ours / theirs, 3) for ours, theirs in zip(errors(denoise, x), base, strict=True)]
        rows.append(row)
        told = f"{row['run']:14} {row['steps']:6} steps {row['cpu_seconds']:7.1f} s  {row['million_weights']:5.2f} M "
        typer.echo(told + "  ".join(f"{ratio:.2f}" for ratio in row["ratios"]), err=as_json)
    if as_json:
        typer.echo(json.dumps({**about, "linear": base, "rows": rows}, indent=1))


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
