"""Draw where fits of a voxel grid put matter in space that is known to be empty, from above.

    python -m benchmarks.pictures.floaters SCENE runs/none runs/tv runs/blocks --out floaters.png

A square of the picture is a column of 5 cm x 5 cm from floor to ceiling; its value is the volume of opaque matter at
the column's empty points (`examples.voxel_grid.floaters`), in litres.
"""

import json
from pathlib import Path
from typing import Annotated

import matplotlib
import torch
import typer

from examples.voxel_grid.blocks import upright
from examples.voxel_grid.floaters import empty_points
from scorereg import VoxelGrid
from scorereg._io import write_beside
from scorereg.cli import one_line_errors
from scorereg.fit import Fit
from scorereg.scenes import load_scene

VOXEL = 0.05  # metres between the points
FULL = 1.5  # litres that are white


def main(
    scene: Annotated[Path, typer.Argument(help="The scene that was fitted, with true depth.")],
    runs: Annotated[list[Path], typer.Argument(help="Folders that examples.voxel_grid wrote, with its defaults.")],
    labels: Annotated[str | None, typer.Option(help="Titles of the fits, separated by commas.")] = None,
    out: Annotated[Path, typer.Option(help="The picture, PNG.")] = Path("floaters.png"),
) -> None:
    """Draw a map for each fit, with the cameras of the three photos."""
    from matplotlib import pyplot as plt

    matplotlib.use("Agg")
    loaded = load_scene(scene)
    if loaded.depth is None:
        raise ValueError(f"{scene} has no true depth, so nothing says where it is empty. Give another scene.")
    points = empty_points(loaded.depth, loaded.cameras, near=loaded.near, voxel=VOXEL)
    flat = [axis for axis in range(3) if axis != int(upright(loaded.cameras)[1].abs().argmax())]
    cells = ((points - points.amin(0)) / VOXEL).round().long()[:, flat]
    origin = points.amin(0)[flat]
    names = labels.split(",") if labels else [run.name for run in runs]
    figure, axes = plt.subplots(1, len(runs), figsize=(4.3 * len(runs), 4.6), squeeze=False, layout="constrained")
    shown = None
    for axis, run, name in zip(axes[0], runs, names, strict=True):
        field = _field(run)
        with torch.no_grad():
            alpha = torch.cat([-torch.expm1(-field.density(piece) * VOXEL) for piece in points.split(100_000)])
        litres = torch.full(tuple((cells.amax(0) + 1).tolist()), torch.nan)
        total = torch.zeros_like(litres).index_put_(tuple(cells.T), 1000 * VOXEL**3 * alpha, accumulate=True)
        litres[tuple(cells.T)] = total[tuple(cells.T)]
        ends = [float(v) for a, n in zip(origin, litres.shape, strict=True) for v in (a, a + n * VOXEL)]
        shown = axis.imshow(litres.T, origin="lower", extent=ends, cmap="inferno", vmin=0, vmax=FULL)
        axis.plot(*loaded.cameras[loaded.train].origins[:, flat].T, "^", color="deepskyblue", markersize=9)
        mass = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["floater_mass"]
        axis.set_title(f"{name}\n{mass:.2f} m$^3$ of floaters")
        axis.set_xlabel("metres")
        axis.set_xlim(ends[0], ends[1] + 0.3)  # cameras on the border too
    figure.colorbar(shown, ax=axes, label="litres in a column of 5 cm x 5 cm", extend="max")  # pyright: ignore
    write_beside(out, lambda beside: figure.savefig(beside, format="png", dpi=90))
    typer.echo(f"picture: {out}")


def _field(run: Path) -> VoxelGrid:
    field = Fit.load(run).field
    if not isinstance(field, VoxelGrid):
        raise ValueError(f"{run} holds a {type(field).__name__}. Give runs of examples.voxel_grid.")
    return field


if __name__ == "__main__":
    with one_line_errors():
        typer.run(main)
