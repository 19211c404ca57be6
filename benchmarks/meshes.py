"""Measure the mesh and the points of fits against the true depth of their scene.

    python -m benchmarks.meshes runs/demo/geometric runs/demo/prior --out benchmarks/results/meshes.json

Chamfer L1 in metres between 40,000 points on the mesh, evenly by area, or of the point cloud, and as many pixels of the
true depth of all views. Parts of the room that no training photo shows count too.
"""

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from jaxtyping import Float
from torch import Tensor

from scorereg._io import write_beside
from scorereg.cli import one_line_errors
from scorereg.export import Mesh, mesh_of, points_of, render_frames, shots_of
from scorereg.fit import Fit
from scorereg.metrics import chamfer
from scorereg.scenes import Scene

COUNT = 40_000


def main(
    runs: Annotated[list[Path], typer.Argument(help="Folders of fits of scenes with true depth.")],
    resolution: Annotated[int, typer.Option(help="Grid points along the longest side.")] = 256,
    out: Annotated[Path | None, typer.Option(help="JSON file for the numbers.")] = None,
) -> None:
    """Print and write the distances of each run."""
    rows = []
    for run in runs:
        rows.append({"run": run.name, "resolution": resolution, **_distances(Fit.load(run).with_photos(), resolution)})
        typer.echo(json.dumps(rows[-1]))
    if out is not None:
        write_beside(out, lambda beside: beside.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8"))


def _distances(fit: Fit, resolution: int) -> dict[str, float | int]:
    truth = _drawn(_true_points(fit.scene))
    frames = list(render_frames(fit, shots_of(fit.scene, "all")))
    mesh, cloud = mesh_of(frames, resolution=resolution), points_of(frames)
    found: dict[str, float | int] = {"steps": fit.recipe.steps, "seed": fit.seed, "triangles": len(mesh.faces)}
    for name, points in (("mesh", _on_surface(mesh)), ("points", _drawn(cloud.points))):
        distance = chamfer(points, truth)
        found |= {f"{name}_accuracy": distance.accuracy, f"{name}_completeness": distance.completeness}
        found[f"{name}_chamfer"] = distance.mean
    return found


def _true_points(scene: Scene) -> Float[Tensor, "n 3"]:
    if scene.depth is None:
        raise ValueError(f"{scene.name} has no true depth to compare with. Give fits of another scene.")
    parts = []
    for i, depth in enumerate(scene.depth):
        known = (depth > 0) & (depth < scene.far)
        parts.append(scene.cameras.image_rays(i).points(depth[..., None])[..., 0, :][known])
    return torch.cat(parts)


def _drawn(points: Float[Tensor, "n 3"]) -> Float[Tensor, "m 3"]:
    return points[torch.randperm(len(points), generator=torch.Generator().manual_seed(0))[:COUNT]]


def _on_surface(mesh: Mesh) -> Float[Tensor, "m 3"]:
    """Random points on the triangles, evenly by area."""
    draw = np.random.default_rng(0)
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    chosen = draw.choice(len(area), COUNT, p=area / area.sum())
    root, share = np.sqrt(draw.random((COUNT, 1))), draw.random((COUNT, 1))
    points = (1 - root) * a[chosen] + root * (1 - share) * b[chosen] + root * share * c[chosen]
    return torch.from_numpy(points.astype(np.float32))


if __name__ == "__main__":
    with one_line_errors():
        typer.run(main)
