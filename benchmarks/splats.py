"""What an attached prior gains for splats: `python -m benchmarks.splats SCENE... --seeds 3 --results FILE`.

Runs `examples.own_renderer.splats` on every scene, in every way, with every seed; a run whose metrics are there already
is not done again. Each figure is the median over the seeds, and the mean of these over the scenes.
"""

import json
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.few_views import table
from examples.own_renderer.splats.run import run
from scorereg.cli import one_line_errors


def main(
    scenes: Annotated[list[Path], typer.Argument(help="Folders with photos and poses.")],
    kinds: Annotated[str, typer.Option(help="Ways to regularise, separated by commas.")] = "none,geometric,prior",
    seeds: Annotated[int, typer.Option(help="Seeds 0 to this, exclusive.")] = 3,
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/splats_benchmark"),
    results: Annotated[Path | None, typer.Option(help="Write the result here as well.")] = None,
) -> None:
    """Fit, collect, compare."""
    rows = []
    for seed in range(seeds):
        for scene in scenes:
            for kind in kinds.split(","):
                folder = out / scene.resolve().name / f"{kind}-{seed}"
                done = folder / "metrics.json"
                metrics = (
                    json.loads(done.read_text()) if done.exists() else run(scene, folder, regularize=kind, seed=seed)
                )
                rows.append({name: value for name, value in metrics.items() if name != "views"})
                typer.echo(f"{rows[-1]['scene']} {kind} {seed}: {rows[-1]['psnr']:.2f} dB")
    report = {"device": rows[0]["device"], "torch": torch.__version__, "table": table(rows), "rows": rows}
    for line in report["table"]:
        typer.echo(json.dumps(line))
    if results is not None:
        results.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    with one_line_errors("splats"):
        typer.run(main)
