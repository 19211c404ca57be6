"""Draw the weights along a few rays of several fits of one scene, one above the other.

python -m examples.ray_weights.plot runs/none runs/distortion runs/rays --out rays.png
"""

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from scorereg.cli import one_line_errors


def main(
    runs: Annotated[list[Path], typer.Argument(help="Folders that examples.ray_weights wrote, of one scene.")],
    out: Annotated[Path, typer.Option(help="The picture, PNG.")] = Path("rays.png"),
) -> None:
    """Draw, for each run a row and for each ray a column, the share of light over depth, and the true depth."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    names = [json.loads((run / "metrics.json").read_text(encoding="utf-8"))["regularize"] for run in runs]
    rays = [np.load(run / "rays.npz") for run in runs]
    if any(not np.array_equal(each["pixels"], rays[0]["pixels"]) for each in rays):
        raise ValueError("the runs show different rays, so they are not of one scene and its size. Give runs of one.")
    count = len(rays[0]["pixels"])
    figure, axes = plt.subplots(
        len(runs), count, figsize=(2.1 * count, 1.3 * len(runs) + 0.4), sharex="col", sharey=True, squeeze=False
    )
    for row, (name, each) in enumerate(zip(names, rays, strict=True)):
        for column in range(count):
            axis, depth = axes[row, column], each["depth"][column]
            axis.stairs(each["weights"][column], each["edges"][column], fill=True, color="#4060a0")
            if depth > 0:
                axis.axvline(depth, color="#d04020", linewidth=1)
            axis.set_xscale("log")
            axis.tick_params(labelsize=6, which="both")
            axis.set_ylim(0, 1)
        axes[row, 0].set_ylabel(name, fontsize=8)
    figure.supxlabel("planar depth, metres; the line is the true depth", fontsize=8)
    figure.tight_layout(pad=0.4)
    beside = out.with_suffix(".part")
    figure.savefig(beside, format="png", dpi=110)
    beside.replace(out)
    typer.echo(f"picture: {out}")


if __name__ == "__main__":
    with one_line_errors():
        typer.run(main)
