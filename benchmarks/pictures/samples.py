"""Draw samples of the priors over ray weights and over voxel blocks.

    python -m benchmarks.pictures.samples rays-64 --out rays-64-samples.png
    python -m benchmarks.pictures.samples blocks-32 --out blocks-32-samples.png

A ray is a line: the weight of each bin against its depth. A block is seen from above at an angle, with the faces that
look at the reader only, so that its near walls do not hide what is in it.
"""

from pathlib import Path
from typing import Annotated

import matplotlib
import numpy as np
import typer

from scorereg import RayWeights, load_prior, sample
from scorereg._io import write_beside
from scorereg.cli import one_line_errors

UP, ASIDE, CUT = "#d9a441", "#5b8db8", "#d8d8d8"
LEGEND = {UP: "surface facing up", ASIDE: "surface facing sideways", CUT: "solid matter cut by the block's border"}
TICKS = (0.5, 0.7, 1, 2, 10)  # metres


def main(
    prior: Annotated[str, typer.Argument(help="A prior over ray weights or over blocks: a name or a folder.")],
    out: Annotated[Path, typer.Option(help="The picture, PNG.")],
    seed: Annotated[int, typer.Option(help="Seeds the samples.")] = 0,
) -> None:
    """Draw twelve rays, or six blocks."""
    loaded = load_prior(prior)
    matplotlib.use("Agg")
    dimensions = len(loaded.card.size)
    if dimensions == 1:
        transform = RayWeights.for_card(loaded.card)
        weights = transform.decode(sample(loaded, 12, seed=seed))[:, 0]
        figure = rays_figure(weights.numpy(), transform.edges.numpy())
    elif dimensions == 3:
        figure = blocks_figure(sample(loaded, 6, seed=seed)[:, 0].numpy() > 0)
    else:
        raise ValueError(f"{prior} is a prior over patches. Draw it by scorereg sample {prior}.")
    write_beside(out, lambda beside: figure.savefig(beside, format="png", dpi=90))
    typer.echo(f"picture: {out}")


def rays_figure(weights: np.ndarray, edges: np.ndarray):
    """Weights (n, k) of bins with edges in metres, a panel each."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(3, 4, figsize=(11, 6), sharex=True, sharey=True, layout="constrained")
    for axis, ray in zip(axes.flat, weights, strict=True):
        axis.stairs(ray, edges, fill=True, color="#5b8db8", alpha=0.4)
        axis.stairs(ray, edges, color="#1f4e79", linewidth=1.5, baseline=None)
        axis.set_xscale("function", functions=(lambda z: -1 / np.maximum(z, 1e-6), lambda u: -1 / np.minimum(u, -1e-6)))
        axis.set_xticks(TICKS, [f"{metres:g}" for metres in TICKS])
        axis.set_xlim(edges[0], edges[-1])
        axis.set_ylim(0, 1)
        axis.grid(alpha=0.3)
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
        where = {"x": 0.5, "y": 0.93, "ha": "center", "va": "top", "transform": axis.transAxes}
        axis.text(s=f"sum {ray.sum():.2f}", fontsize=9, bbox=box, **where)
    figure.supxlabel("depth in metres (bins are even in 1 / depth)")
    figure.supylabel("weight of a bin")
    return figure


def blocks_figure(solid: np.ndarray):
    """Blocks (n, x, y, z) of which y points up, True where they are solid."""
    from matplotlib import pyplot as plt
    from matplotlib.patches import Patch
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection

    figure = plt.figure(figsize=(11, 7.6), layout="constrained")
    for index, block in enumerate(solid):
        axis = figure.add_subplot(2, 3, index + 1, projection="3d", proj_type="ortho", box_aspect=(1, 1, 1))
        quads, colors = visible_faces(open_to_reader(block))
        axis.add_collection3d(Poly3DCollection(quads, facecolors=colors, edgecolors="none", antialiased=False))
        side = len(block)
        axis.set(xlim=(0, side), ylim=(0, side), zlim=(0, side), xticks=[], yticks=[], zticks=[])
        axis.view_init(elev=35, azim=-45)
        axis.set_title(f"{block.mean():.0%} solid", fontsize=11)
    handles = [Patch(color=color, label=name) for color, name in LEGEND.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return figure


def open_to_reader(block: np.ndarray) -> np.ndarray:
    """The block turned about y by quarters, so that its emptiest upper corner is nearest."""
    turned = [np.rot90(block, k, axes=(0, 2)) for k in range(4)]
    half = len(block) // 2
    return min(turned, key=lambda b: b[half:, half:, :half].mean())


def visible_faces(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners (n, 4, 3) and colors (n, 3) of the faces of solid voxels that look at a reader at +x, -y and above.

    The block's axes x and z lie flat in the drawing, its y points up.
    """
    from matplotlib.colors import to_rgb

    solid = np.pad(block.transpose(0, 2, 1), 1)
    quads, colors = [], []
    for axis, step, color, light in ((0, 1, ASIDE, 1.0), (1, -1, ASIDE, 0.8), (2, 1, UP, 1.0)):
        border = len(block) - 1 if step > 0 else 0
        u, v = np.eye(3)[[other for other in range(3) if other != axis]]
        for corner in np.argwhere((solid & ~np.roll(solid, -step, axis))[1:-1, 1:-1, 1:-1]):
            base = corner + np.eye(3)[axis] * (step > 0)
            quads.append([base, base + u, base + u + v, base + v])
            colors.append(light * np.array(to_rgb(CUT if corner[axis] == border else color)))
    return np.array(quads), np.array(colors)


if __name__ == "__main__":
    with one_line_errors():
        typer.run(main)
