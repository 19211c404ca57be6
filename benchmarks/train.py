"""Training throughput against a plain PyTorch loop, what the loader delivers, and the memory of the paper's network.

    python -m benchmarks.train [DATA] [--json]

Without DATA, 48 frames of 320x240 pixels are drawn. Of the plain loop see `train_plain`; network, batch, loss and
precision are those of ours. Blocks of a few steps of each take turns, in an order that rotates, so that a machine that
is busy elsewhere slows them alike; a ratio is the median over the turns. Time is the processor's, of all threads of the
process, over their number: what the clock on the wall would say of a machine that does nothing else. The targets are
1.5 for the throughput and 5 for the loader.

Memory is counted on torch's meta device, where nothing is computed: the most bytes that tensors hold at once in a step,
with the weights, their gradients, Adam's moments and the average.

With `--held-out FOLDER` the prior that is shipped is measured, too: see `denoising`.
"""

import dataclasses
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks.denoising import denoising
from benchmarks.memory import most_bytes
from benchmarks.train_frames import write_frames
from benchmarks.train_plain import plain_loop
from scorereg.data.open import open_source
from scorereg.data.source import Source
from scorereg.priors.networks import build_network
from scorereg.training.batches import BatchDataset, RankShare, batches
from scorereg.training.card import make_card
from scorereg.training.checkpoint import new_state
from scorereg.training.settings import Settings
from scorereg.training.step import MICRO_BATCH, train_step


def our_loop(source: Source, settings: Settings, precision: str) -> Iterator[None]:
    """Train as `train_prior` does; each `next` is a step."""
    from accelerate import Accelerator

    state = new_state(make_card("ours", settings, source.about), settings, precision=precision)
    accelerator = Accelerator(cpu=True)
    if settings.compile:
        state.loss.network.compile()
    draws = BatchDataset(source, settings, RankShare.of(settings))
    for parts in batches(draws, 0, device=torch.device("cpu"), workers=settings.workers or 0):
        train_step(state, state.loss, parts, accelerator)
        yield


def network_alone(source: Source, settings: Settings, precision: str) -> Iterator[None]:
    """What the network eats: the same step on a batch that is there already."""
    from accelerate import Accelerator

    state = new_state(make_card("ours", settings, source.about), settings, precision=precision)
    x = torch.randn(settings.batch, 4, settings.patch_size, settings.patch_size)
    part = (x, torch.ones_like(x), torch.randn_like(x), torch.full((len(x),), 0.1))
    accelerator = Accelerator(cpu=True)
    while True:
        train_step(state, state.loss, [part], accelerator)
        yield


def loader_alone(source: Source, settings: Settings) -> Iterator[None]:
    """Batches that nobody eats."""
    draws = BatchDataset(source, settings, RankShare.of(settings))
    for _ in batches(draws, 0, device=torch.device("cpu"), workers=settings.workers or 0):
        yield


def rates(loops: dict[str, Iterator[None]], *, turns: int, steps: int, batch: int) -> dict[str, list[float]]:
    """Return images per second of processor time of each loop, turn by turn; all take turns."""
    found: dict[str, list[float]] = {name: [] for name in loops}
    names = list(loops)
    for turn in range(-1, turns):  # the first only warms up
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            began = time.process_time()
            for _ in range(steps):
                next(loops[name])
            if turn >= 0:
                found[name].append(torch.get_num_threads() * steps * batch / (time.process_time() - began))
    return found


def ratio(found: dict[str, list[float]], ours: str, theirs: str) -> float:
    """Median over the turns."""
    return round(statistics.median(a / b for a, b in zip(found[ours], found[theirs], strict=True)), 3)


def memory(batch: int = 32, patch: int = 48) -> dict[str, Any]:
    """Count what training the paper's network holds at once, in megabytes."""

    def count(parts: int, checkpointing: bool) -> dict[str, float]:
        with torch.device("meta"):
            network: Any = build_network("base", patch_size=patch, channels=4)
        if checkpointing:
            network.enable_gradient_checkpointing()
        x, level = (torch.zeros(batch // parts, *shape, device="meta") for shape in ((4, patch, patch), ()))
        run: Callable[[], None] = lambda: network(x, level, return_dict=False)[0].square().mean().backward()  # noqa: E731
        weights = 4 * sum(value.numel() for value in network.parameters())
        beyond = most_bytes(run)  # gradients and activations; then two moments, the average and the weights themselves
        return {"activations and gradients": round(beyond / 1e6), "in all": round((beyond + 4 * weights) / 1e6)}

    rows = {
        "plain": count(1, False),
        "checkpointing": count(-(-batch // MICRO_BATCH), True),  # `--checkpointing` takes a batch in pieces
        "checkpointing, all patches at once": count(1, True),
    }
    return {"network": "base", "batch": batch, "patch": patch, "precision": "fp32", "megabytes": rows}


def main(
    data: Annotated[list[Path] | None, typer.Argument(help="Folders with RGB-D frames; drawn, if not given.")] = None,
    size: Annotated[str, typer.Option(help="Network.")] = "small",
    batch: Annotated[int, typer.Option(help="Patches a step.")] = 48,
    patch: Annotated[int, typer.Option(help="Side of a patch.")] = 24,
    turns: Annotated[int, typer.Option(min=2, help="Turns of each loop.")] = 5,
    steps: Annotated[int, typer.Option(min=1, help="Steps a turn.")] = 2,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 2,
    compiled: Annotated[bool, typer.Option("--compile", help="Ours with torch.compile, too.")] = False,
    held_out: Annotated[list[Path] | None, typer.Option(help="Measure --prior on these frames; repeatable.")] = None,
    prior: Annotated[str, typer.Option(help="An RGB-D prior.")] = "rooms-rgbd-24",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print images a second and their ratios, in float32 and in bfloat16, bytes, and denoising errors."""
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    settings = Settings(network_size=size, batch=batch, patch_size=patch, steps=10**6, workers=0)
    about = {"size": size, "batch": batch, "patch": patch, "threads": threads, "torch": torch.__version__}
    about |= {"device": f"{platform.machine()} CPU", "turns": turns, "steps": steps}
    about |= {"processor": _processor(), "data": [path.name for path in data or []] or "drawn"}
    about["load before"] = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory() as made:
        rows = throughput(data or [write_frames(Path(made) / "drawn")], settings, turns, steps, compiled=compiled)
    result = {**about, "load after": round(os.getloadavg()[0], 1), "throughput": rows, "memory": memory()}
    result |= {"denoising": denoising(prior, held_out)} if held_out else {}
    typer.echo(json.dumps(result, indent=2) if as_json else "\n".join(f"{k}: {v}" for k, v in result.items()))


def throughput(data: list[Path], settings: Settings, turns: int, steps: int, *, compiled: bool) -> list[dict[str, Any]]:
    """Time all loops in float32 and in bfloat16; a row for each, in images a second and ratios."""
    source, rows = open_source(data, settings.patch_spec), []
    for precision in ("fp32", "bf16"):
        loops = {
            "ours": our_loop(source, settings, precision),
            "plain": plain_loop(data, source, settings, precision),
            "network": network_alone(source, settings, precision),
            "loader": loader_alone(source, settings),
        }
        if compiled:
            loops["compiled"] = our_loop(source, dataclasses.replace(settings, compile=True), precision)
        found = rates(loops, turns=turns, steps=steps, batch=settings.batch)
        row: dict[str, Any] = {"precision": precision}
        row |= {f"{name}_images_per_second": round(statistics.median(each), 1) for name, each in found.items()}
        row |= {
            "ours_over_plain": ratio(found, "ours", "plain"),
            "loader_over_network": ratio(found, "loader", "network"),
        }
        if compiled:
            row["compiled_over_plain"] = ratio(found, "compiled", "plain")
        rows.append(row)
    return rows


def _processor() -> str:
    """The processor's name, where Linux tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
