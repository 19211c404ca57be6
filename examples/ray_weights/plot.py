"""Draw the weights along a few rays of several fits of one scene over each other.

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

BINS, MARGIN = 120, 1.25  # bins, even in log depth; factor in depth that is shown beside the weights and the truth
TICKS = (0.25, 0.5, 0.7, 1, 1.5, 2, 3, 4, 6, 8, 16, 32, 64)  # metres


def main(
    runs: Annotated[list[Path], typer.Argument(help="Folders that examples.ray_weights wrote, of one scene.")],
    out: Annotated[Path, typer.Option(help="The picture, PNG.")] = Path("rays.png"),
) -> None:
    """Draw weight against depth, a panel for each ray and a line for each run, with the true depth.

    Bins are the same for all. Each panel shows the depths at which there is weight; its title has the runs' spreads:
    the standard deviation of the depth under the weights, in percent of its mean.
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
    binned = [_binned(each, edges) for each in rays]
    columns = min(count, 3)
    rows = -(-count // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(4.2 * columns, 3 * rows), squeeze=False, layout="constrained")
    for index, axis in enumerate(axes.flat[:count]):
        depth = rays[0]["depth"][index]
        for name, weights in zip(names, binned, strict=True):
            axis.stairs(weights[index], edges, label=name, linewidth=1.6, baseline=None)
        if depth > 0:
            axis.axvline(depth, color="black", linestyle="--", linewidth=1.2)
        low, high = _range([weights[index] for weights in binned], edges, depth)
        ticks = [metres for metres in TICKS if low <= metres <= high]
        axis.set(xscale="log", xlim=(low, high), ylim=(0, None))
        axis.set_xticks(ticks, [f"{metres:g}" for metres in ticks])
        axis.set_xticks([], minor=True)
        spreads = ", ".join(f"{100 * spread(weights[index], edges):.0f}" for weights in binned)
        axis.set_title(f"spread {spreads} %", fontsize=10)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=len(names), frameon=False)
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    figure.supxlabel("depth in metres; dashed: true depth")
    figure.supylabel("weight of a bin")
    write_beside(out, lambda beside: figure.savefig(beside, format="png", dpi=90))
    typer.echo(f"picture: {out}")


def spread(weights: np.ndarray, edges: np.ndarray) -> float:
    """Standard deviation of the depth under the weights of bins, as a share of its mean."""
    middles, total = np.sqrt(edges[1:] * edges[:-1]), max(weights.sum(), 1e-9)
    mean = (weights * middles).sum() / total
    return float(np.sqrt((weights * (middles - mean) ** 2).sum() / total) / max(mean, 1e-9))


def _binned(rays: dict[str, np.ndarray], edges: np.ndarray) -> np.ndarray:
    weights, old = (torch.from_numpy(rays[key]).double() for key in ("weights", "edges"))
    return rebin(weights, old, torch.from_numpy(edges)).numpy()


def _range(weights: list[np.ndarray], edges: np.ndarray, depth: float) -> tuple[float, float]:
    """Depths between which all but a hundredth of each run's weight and the true depth lie, with a margin."""
    sums = [w.cumsum() / max(w.sum(), 1e-9) for w in weights]
    near = [edges[int((s > 0.005).argmax())] for s in sums]
    far = [edges[int((s > 0.995).argmax()) + 1] for s in sums]
    known = [depth] if depth > 0 else []
    return float(min(near + known) / MARGIN), float(max(far + known) * MARGIN)


def _read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:
        return dict(arrays)


if __name__ == "__main__":
    with one_line_errors():
        typer.run(main)
