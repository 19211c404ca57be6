"""Draw the weights along a few rays of several fits of one scene, one above the other.

python -m examples.ray_weights.plot runs/none runs/distortion runs/rays --out rays.png
"""

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from scorereg import rebin
from scorereg._io import write_beside
from scorereg.cli import one_line_errors

BINS = 60


def main(
    runs: Annotated[list[Path], typer.Argument(help="Folders that examples.ray_weights wrote, of one scene.")],
    out: Annotated[Path, typer.Option(help="The picture, PNG.")] = Path("rays.png"),
) -> None:
    """Draw the share of light over depth and the true depth: a row for each run, a column for each ray.

    Bins are even in the logarithm of the depth, the same for all.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    names = [json.loads((run / "metrics.json").read_text(encoding="utf-8"))["regularize"] for run in runs]
    rays = [_read(run / "rays.npz") for run in runs]
    if any(not np.array_equal(each["pixels"], rays[0]["pixels"]) for each in rays):
        raise ValueError("the runs show different rays, so they are not of one scene and its size. Give runs of one.")
    count = len(rays[0]["pixels"])
    edges = np.geomspace(min(each["edges"].min() for each in rays), max(each["edges"].max() for each in rays), BINS + 1)
    figure, axes = plt.subplots(
        len(runs), count, figsize=(2.1 * count, 1.3 * len(runs) + 0.4), sharex=True, sharey=True, squeeze=False
    )
    ticks = [metres for metres in (0.25, 0.5, 1, 2, 4, 8, 16, 32, 64) if edges[0] <= metres <= edges[-1]]
    for row, (name, each) in enumerate(zip(names, rays, strict=True)):
        weights, old = (torch.from_numpy(each[key]).double() for key in ("weights", "edges"))
        binned = rebin(weights, old, torch.from_numpy(edges)).numpy()
        for column in range(count):
            axis, depth = axes[row, column], each["depth"][column]
            axis.stairs(binned[column], edges, fill=True, color="#4060a0")
            if depth > 0:
                axis.axvline(depth, color="#d04020", linewidth=1)
            axis.set_xscale("log")
            axis.set_xticks(ticks)
            axis.set_xticklabels([f"{metres:g}" for metres in ticks])
            axis.set_xticks([], minor=True)
            axis.tick_params(labelsize=7)
        axes[row, 0].set_ylabel(name, fontsize=9)
    figure.supxlabel("planar depth in metres; the line is the true depth", fontsize=8)
    figure.tight_layout(pad=0.4)
    write_beside(out, lambda beside: figure.savefig(beside, format="png", dpi=110))
    typer.echo(f"picture: {out}")


def _read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:
        return dict(arrays)


if __name__ == "__main__":
    with one_line_errors():
        typer.run(main)
