"""What a prior over blocks gains for a voxel grid: `python -m benchmarks.voxel_grid SCENE... --results FILE`.

Runs `examples.voxel_grid` on every scene, in every way, with every seed; a run whose metrics are there already is not
done again. Each figure is the median over the seeds, and the mean of these over the scenes.
"""

import json
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.few_views import FIGURES, table
from examples.voxel_grid.run import run
from scorereg.cli import one_line_errors


def main(
    scenes: Annotated[list[Path], typer.Argument(help="Folders with photos and poses.")],
    kinds: Annotated[str, typer.Option(help="Ways to regularise, separated by commas.")] = "none,tv,blocks,blocks+rgbd",
    seeds: Annotated[int, typer.Option(help="Seeds 0 to this, exclusive.")] = 3,
    prior: Annotated[str, typer.Option(help="The prior over blocks: a shipped one's name, or a folder.")] = "blocks-32",
    steps: Annotated[int | None, typer.Option(help="Optimisation steps; the preset's, if not given.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/voxel_grid_benchmark"),
    results: Annotated[Path | None, typer.Option(help="Write the result here as well.")] = None,
) -> None:
    """Fit, collect, compare."""
    rows = []
    for seed in range(seeds):
        for scene in scenes:
            for kind in kinds.split(","):
                folder = out / scene.resolve().name / f"{kind}-{seed}"
                done = folder / "metrics.json"
                if done.exists():
                    metrics = json.loads(done.read_text())
                else:
                    metrics = run(scene, folder, regularize=kind, seed=seed, prior=prior, steps=steps)
                rows.append({name: value for name, value in metrics.items() if name != "views"})
                typer.echo(f"{rows[-1]['scene']} {kind} {seed}: {rows[-1]['psnr']:.2f} dB")
    figures = (*FIGURES, "floater_mass", "floater_share")
    report = {"device": rows[0]["device"], "torch": torch.__version__, "table": table(rows, figures), "rows": rows}
    for line in report["table"]:
        typer.echo(json.dumps(line))
    if results is not None:
        results.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    with one_line_errors("voxel_grid"):
        typer.run(main)
