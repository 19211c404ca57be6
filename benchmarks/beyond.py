"""What a prior gains beyond patches of a field: `python -m benchmarks.beyond ray_weights SCENE... --results FILE`.

Runs one of the examples (ray_weights, voxel_grid, splats) on every scene, in every way, with every seed; a run whose
metrics are there already is not done again, so an interrupted benchmark goes on where it was. Each figure is the median
over the seeds, and the mean of these over the scenes. `--steps` gives one way the time of another; `--cpu-time` tells
what that is where other work shares the cores.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.few_views import FIGURES, short, table
from examples.own_renderer.splats.run import run as run_splats
from examples.ray_weights.run import run as run_ray_weights
from examples.voxel_grid.run import run as run_voxel_grid
from scorereg.cli import one_line_errors

RUNS: dict[str, Callable[..., dict]] = {
    "ray_weights": run_ray_weights,
    "voxel_grid": run_voxel_grid,
    "own_renderer.splats": run_splats,
}
KINDS = {
    "ray_weights": "none,distortion,rays,both,rgbd",
    "voxel_grid": "none,tv,blocks,blocks+rgbd",
    "own_renderer.splats": "none,geometric,prior",
}
MORE = {"voxel_grid": ("floater_mass", "floater_share")}


def main(
    example: Annotated[str, typer.Argument(help="ray_weights, voxel_grid or own_renderer.splats.")],
    scenes: Annotated[list[Path], typer.Argument(help="Folders with photos and poses.")],
    kinds: Annotated[
        str | None, typer.Option(help="Ways to regularise, separated by commas; all, if not given.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Seeds 0 to this, exclusive.")] = 3,
    steps: Annotated[int | None, typer.Option(help="Of the fits; the examples' own, if not given.")] = None,
    cpu_time: Annotated[
        bool, typer.Option("--cpu-time", help="Seconds are the processor's for this process, not the clock's.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/beyond"),
    results: Annotated[Path | None, typer.Option(help="Write the result here as well.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, last.")] = False,
) -> None:
    """Fit, collect, compare."""
    if example not in KINDS:
        raise ValueError(f"the example must be one of {', '.join(KINDS)}, but is {example!r}.")
    run = RUNS[example]
    rows = []
    for seed in range(seeds):
        for scene in scenes:
            for kind in (kinds or KINDS[example]).split(","):
                name = f"{kind}-{seed}" if steps is None else f"{kind}-{seed}-{steps}"
                folder = out / example / scene.resolve().name / name
                done = folder / "metrics.json"
                if done.exists():
                    metrics = json.loads(done.read_text())
                else:
                    metrics = run(scene, folder, regularize=kind, seed=seed, steps=steps, cpu_time=cpu_time)
                rows.append({name: value for name, value in metrics.items() if name != "views"})
                typer.echo(f"{scene.name} {kind} {seed}: {metrics['psnr']:.2f} dB", err=True)
    lines = table(rows, (*FIGURES, *MORE.get(example, ())))
    report = {"device": rows[0]["device"], "torch": torch.__version__, "table": lines, "rows": rows}
    if results is not None:
        results.write_text(json.dumps(report, indent=1) + "\n")
    for line in lines:
        typer.echo("  ".join(f"{name} {short(value)}" for name, value in line.items()))
    if as_json:
        typer.echo(json.dumps(report))


if __name__ == "__main__":
    with one_line_errors("beyond"):
        typer.run(main)
