"""What measured depth is worth to a few-view fit: `python -m benchmarks.measured_depth SCENE... --results FILE --json`.

Fits every scene without measured depth, with a random share of the training photos' depth, and with all of it, in every
way of regularising and with every seed. Depth of the held-out views is for the errors alone. Each line is the median
over the seeds.
"""

import json
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks.few_views import short
from scorereg.cli import one_line_errors
from scorereg.fit import CPU, MeasuredDepth, PatchPrior, RayPrior, Term, default_terms, fit_scene
from scorereg.fit.views import render_views, summary
from scorereg.priors.load import load_prior
from scorereg.scenes import Scene, load_scene

FIGURES = ("psnr", "ssim", "depth_abs_rel", "seconds")


def main(
    scenes: Annotated[list[Path], typer.Argument(help="Folders with photos, poses and depth.")],
    kinds: Annotated[str, typer.Option(help="geometric, prior, or both, separated by a comma.")] = "geometric,prior",
    shares: Annotated[str, typer.Option(help="Shares of the training photos' depth; 0 uses none.")] = "0,0.02,1",
    noise: Annotated[float, typer.Option(help="Standard deviation of a factor on the depth that is kept.")] = 0.0,
    weight: Annotated[float, typer.Option(help="Of the measured depth.")] = 0.1,
    seeds: Annotated[int, typer.Option(help="Seeds 0 to this, exclusive.")] = 1,
    steps: Annotated[int, typer.Option(help="Of each fit.")] = 400,
    max_size: Annotated[int, typer.Option(help="Longer side of the photos.")] = 160,
    results: Annotated[
        Path | None, typer.Option(help="Add the runs to this file; those in it are not done again.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, last.")] = False,
) -> None:
    """Fit, collect, compare."""
    rows = json.loads(results.read_text())["rows"] if results is not None and results.exists() else []
    done = {tuple(row[name] for name in ("scene", "kind", "share", "noise", "weight", "seed", "steps")) for row in rows}
    for seed in range(seeds):
        for folder in scenes:
            loaded = load_scene(folder, max_size=max_size)
            for kind in kinds.split(","):
                for share in map(float, shares.split(",")):
                    factor = noise if share > 0 else 0.0
                    key = (loaded.name, kind, share, factor, weight, seed, steps)
                    if key not in done:
                        rows.append(_run(thin(loaded, share, factor, seed), kind, share, factor, weight, seed, steps))
                        typer.echo(json.dumps(rows[-1]), err=True)
                        _write(results, rows)
    for line in table(rows):
        typer.echo("  ".join(f"{name} {short(value)}" for name, value in line.items()))
    if as_json:
        typer.echo(json.dumps(_report(rows)))


def thin(scene: Scene, share: float, noise: float, seed: int) -> Scene:
    """The scene with a random share of the pixels' depth in its training photos, times a random factor."""
    if scene.depth is None:
        raise ValueError(f"{scene.name} has no depth. Give scenes with depth maps.")
    draw, train, depth = torch.Generator().manual_seed(seed), list(scene.train), scene.depth.clone()
    kept = depth[train] * (1 + noise * torch.randn(depth[train].shape, generator=draw)).clamp_min(0.1)
    depth[train] = torch.where(torch.rand(kept.shape, generator=draw) < share, kept, 0.0)
    return replace(scene, depth=depth)


def _run(scene: Scene, kind: str, share: float, noise: float, weight: float, seed: int, steps: int) -> dict[str, Any]:
    terms: list[Term] = default_terms(regularize="geometric")
    if share > 0:
        terms.append(MeasuredDepth(weight))
    if kind == "prior":
        terms += [PatchPrior(load_prior("rooms-rgbd-24"), depth=share > 0), RayPrior(load_prior("rays-64"))]
    recipe = replace(CPU, steps=steps)
    fit = fit_scene(scene, terms=terms, recipe=recipe, seed=seed, clock=time.process_time)
    measured = summary(render_views(fit.scene, fit.image))
    known = (scene.depth[list(scene.train)] > 0).float().mean().item() if scene.depth is not None else 0.0
    about = {"scene": scene.name, "kind": kind, "share": share, "known": known, "noise": noise, "weight": weight}
    about |= {"seed": seed, "steps": steps, "seconds": fit.seconds}
    return about | {name: measured[name] for name in FIGURES if name != "seconds"}


def table(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Medians over the seeds of each scene, kind, share, noise and weight."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in ("scene", "kind", "share", "noise", "weight")), []).append(row)
    names = ("scene", "kind", "share", "noise", "weight")
    return [
        dict(zip(names, key, strict=True))
        | {"seeds": len(group)}
        | {name: statistics.median(row[name] for row in group) for name in FIGURES}
        for key, group in groups.items()
    ]


def _report(rows: list[dict[str, Any]]) -> dict[str, Any]:
    device = f"cpu, {torch.get_num_threads()} threads"
    return {"device": device, "torch": torch.__version__, "table": table(rows), "rows": rows}


def _write(results: Path | None, rows: list[dict[str, Any]]) -> None:
    if results is not None:
        results.parent.mkdir(parents=True, exist_ok=True)
        results.write_text(json.dumps(_report(rows), indent=1) + "\n")


if __name__ == "__main__":
    with one_line_errors("measured_depth"):
        typer.run(main)
