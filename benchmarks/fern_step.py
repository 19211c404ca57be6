"""What a step of a few-view fit costs: `python -m benchmarks.fern_step SCENE [--threads N] [--json]`.

The step has everything in it: photo rays, patches, the geometric terms with photo consistency, and the prior. Reported
is the median over the repeats, of the time on the clock and, on a CPU, of the process, which other processes disturb
less; and how long the first step took, which builds what is compiled, or reads it where an earlier process built it.
"""

import json
import platform
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer

from scorereg import load_prior
from scorereg.cli import one_line_errors
from scorereg.fit import CPU, Distortion, PatchPrior, default_field, geometric_terms, photo_terms
from scorereg.fit.loop import FitState
from scorereg.rendering import DensityGrid
from scorereg.scenes import load_scene


def main(
    scene: Annotated[Path, typer.Argument(help="Folder with photos and poses.")],
    prior: Annotated[str, typer.Option(help="A shipped prior's name, or a prior's folder.")] = "rooms-rgbd-24",
    rays: Annotated[int, typer.Option(help="Photo rays.")] = 1024,
    patches: Annotated[int, typer.Option(help="Patches of the prior's size.")] = 8,
    repeats: Annotated[int, typer.Option(min=1, help="Steps that are timed.")] = 15,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, last.")] = False,
) -> None:
    """Take steps from the middle of a fit, where every term is at work."""
    torch.set_num_threads(threads)
    loaded, recipe = load_scene(scene, views=3).to(device), replace(CPU, rays=rays)
    field, proposal = default_field(loaded).to(device), DensityGrid(*loaded.ball()).to(device)
    terms = [*photo_terms(), *geometric_terms(distortion=0.0), Distortion(start=0.0)]
    terms.append(PatchPrior(load_prior(prior, device=device), patches=patches, start=0.0))
    loop = FitState(loaded, field, proposal, terms, recipe, seed=0)
    middle = recipe.steps // 2
    first = _timed(loop, middle)[0]
    for step in range(3):  # warm-up
        loop.step(middle + step)
    wall, process = zip(*(_timed(loop, middle + step) for step in range(repeats)), strict=True)
    report = {
        "device": torch.cuda.get_device_name() if device == "cuda" else f"{platform.machine()} CPU",
        "torch": torch.__version__,
        "threads": threads,
        "rays": rays,
        "patches": patches,
        "first_s": round(first, 2),
        "step_ms": round(1e3 * statistics.median(wall), 1),
        "step_cpu_ms": round(1e3 * statistics.median(process), 1),
    }
    print(json.dumps(report) if as_json else "  ".join(f"{name} {value}" for name, value in report.items()))


def _timed(loop: FitState, step: int) -> tuple[float, float]:
    """Seconds of one step, on the clock and of the process."""
    wall, process = time.perf_counter(), time.process_time()
    loop.step(step)
    if loop.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - process


if __name__ == "__main__":
    with one_line_errors():
        typer.run(main)
