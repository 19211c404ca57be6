"""What a prior gains over hand-made terms: `python -m benchmarks.few_views SCENE... --seeds 3 --results FILE --json`.

Runs the few-view example on every scene, in every way, with every seed; a run whose metrics are there already is not
done again, so an interrupted benchmark goes on where it was. Each figure is the median over the seeds.
"""

import json
import platform
import statistics
from pathlib import Path
from typing import Annotated

import torch
import typer

from scorereg.cli import one_line_errors
from scorereg.cli.fit import run_fit

FIGURES = ("psnr", "ssim", "depth_abs_rel", "seconds")


def main(
    scenes: Annotated[list[Path], typer.Argument(help="Folders with photos and poses.")],
    kinds: Annotated[str, typer.Option(help="Ways to regularise, separated by commas.")] = "none,geometric,prior",
    seeds: Annotated[int, typer.Option(help="Seeds 0 to this, exclusive.")] = 3,
    prior: Annotated[str, typer.Option(help="A shipped prior's name, or a prior's folder.")] = "rooms-rgbd-24",
    ray_prior: Annotated[str, typer.Option(help="The one over ray weights beside it, or none.")] = "rays-64",
    steps: Annotated[int | None, typer.Option(help="Optimisation steps; the preset's, if not given.")] = None,
    views: Annotated[int, typer.Option(help="Training views.")] = 3,
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/few_views"),
    results: Annotated[Path | None, typer.Option(help="Write the result here as well.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, last.")] = False,
) -> None:
    """Fit, collect, compare."""
    rows = []
    for seed in range(seeds):
        for scene in scenes:
            for kind in kinds.split(","):
                folder = out / scene.resolve().name / f"{kind}-{seed}"
                how = {"steps": steps, "views": views, "prior": prior, "ray_prior": ray_prior}
                rows.append(_run(scene, folder, regularize=kind, seed=seed, **how))
    report = {"device": _device(), "torch": torch.__version__, "table": table(rows), "rows": rows}
    if results is not None:
        results.parent.mkdir(parents=True, exist_ok=True)
        results.write_text(json.dumps(report, indent=1) + "\n")
    for line in report["table"]:
        typer.echo("  ".join(f"{name} {short(value)}" for name, value in line.items()))
    if as_json:
        typer.echo(json.dumps(report))


def _run(scene: Path, folder: Path, **settings) -> dict:
    done = folder / "metrics.json"
    metrics = _read(done, settings) if done.exists() else run_fit(scene, folder, video=0, **settings)
    return {name: value for name, value in metrics.items() if name != "views"}


def _read(path: Path, settings: dict) -> dict:
    metrics = json.loads(path.read_text())
    saved = {**metrics, "views": len(metrics["train"])}
    asked = {name: value for name, value in settings.items() if value is not None}
    if settings["regularize"] != "prior":
        asked = {name: value for name, value in asked.items() if name not in ("prior", "ray_prior")}
    elif asked["ray_prior"] == "none":
        asked["ray_prior"] = None
    differ = [f"{name} {saved.get(name)}, not {value}" for name, value in asked.items() if saved.get(name) != value]
    if differ:
        raise ValueError(f"{path} is of a fit with {'; '.join(differ)}. Give another --out, or remove it.")
    return metrics


def table(rows: list[dict], figures: tuple[str, ...] = FIGURES) -> list[dict]:
    """Medians over the seeds of each scene and kind, then their mean over the scenes."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for row in rows:
        groups.setdefault((row["scene"], row["regularize"]), []).append(row)
    lines = [
        {"scene": scene, "regularize": kind, "seeds": len(group)} | {name: _median(group, name) for name in figures}
        for (scene, kind), group in groups.items()
    ]
    for kind in dict.fromkeys(line["regularize"] for line in lines):
        mine = [line for line in lines if line["regularize"] == kind]
        means = {name: _mean([line[name] for line in mine]) for name in figures}
        lines.append({"scene": "mean", "regularize": kind, "seeds": mine[0]["seeds"]} | means)
    return lines


def _median(group: list[dict], name: str) -> float | None:
    values = [row[name] for row in group if row[name] is not None]
    return statistics.median(values) if values else None


def _mean(values: list) -> float | None:
    """None where one of the values is: a mean over the others would be another figure."""
    return None if None in values else statistics.fmean(values)


def short(value: object) -> str:
    """A number to three digits, or the value itself."""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()


if __name__ == "__main__":
    with one_line_errors("few_views"):
        typer.run(main)
