"""Restore photos from six kinds of measurements with a prior of patches, and compare with what needs no training.

    python -m examples.inverse_problems PRIOR --data DATA --photo astronaut --photo rocket --out runs/inverse

PRIOR is a prior over r, g, b: a folder of `scorereg train-prior --channels rgb`, or a shipped name. It prints PSNR by
problem and method, mean over the photos, and writes `table.json` and `picture.png`.
"""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from examples.inverse_problems.baselines import total_variation, wiener
from examples.inverse_problems.operators import NAMES, Case, case
from examples.inverse_problems.photos import CONFIRM, DEVELOP, photo
from scorereg import load_prior, metrics, restore, sample_posterior
from scorereg.cli.errors import run_app
from scorereg.fit.pictures import labelled_grid, save
from scorereg.priors import Prior

app = typer.Typer(add_completion=False)
VARIATIONS = (0.1, 0.3, 0.6, 1.0)  # weights of total variation, of which the best counts


@app.command()
def main(
    prior: Annotated[str, typer.Argument(help="A prior over r, g, b: a folder or a name.")],
    data: Annotated[Path, typer.Option(envvar="SCOREREG_DATA", help="Folder with rooms-eval.")] = Path("data"),
    photos: Annotated[list[str] | None, typer.Option("--photo", help="Photos; by default those of the table.")] = None,
    problems: Annotated[list[str] | None, typer.Option("--problem", help="Problems; by default all.")] = None,
    side: Annotated[int, typer.Option(min=24, help="Shorter side that photos are reduced to, in pixels.")] = 128,
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("runs/inverse_problems"),
) -> None:
    """Restore photos from measurements, and print a table."""
    names, chosen = tuple(photos or CONFIRM), tuple(problems or NAMES)
    if unknown := [name for name in chosen if name not in NAMES]:
        raise ValueError(f"no problem is called {unknown[0]!r}; choose from {', '.join(NAMES)}.")
    originals = [square(photo(name, data, side), side) for name in names]
    trained = load_prior(prior)
    if trained.channels != ("r", "g", "b"):
        raise ValueError(f"photos need a prior over r, g, b, but {prior} is one over {', '.join(trained.channels)}.")
    known = [name for name in DEVELOP if name not in names and (data.is_dir() or not name.startswith("room-"))]
    others = [square(photo(name, data, side), side) for name in known]
    rows, shown = [], []
    for problem in chosen:
        found: dict[str, list[float]] = {}
        for name, original in zip(names, originals, strict=True):
            truth = original[None]
            given = case(problem, truth)
            images = restored(given, trained, truth, torch.stack(others))
            for method, (image, seconds) in images.items():
                found.setdefault(method, []).append(quality(image, truth))
                found.setdefault(f"{method}, CPU s", []).append(seconds)
            if name == names[0]:
                shown.append((problem, {"truth": truth, **{method: image for method, (image, _) in images.items()}}))
        row = {"problem": problem, **{key: round(sum(all_) / len(all_), 2) for key, all_ in found.items()}}
        rows.append(row)
        print("  ".join(f"{key} {value}" for key, value in row.items() if "CPU" not in key), flush=True)
    out.mkdir(parents=True, exist_ok=True)
    about = {"prior": prior, "photos": names, "side": side, "rows": rows}
    (out / "table.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    draw(shown, out / "picture.png")


def restored(given: Case, prior: Prior, truth: Tensor, others: Tensor) -> dict[str, tuple[Tensor, float]]:
    """Images by method, with the CPU seconds that each took."""
    shape, size = tuple(truth.shape), tuple(truth.shape[2:])
    settings: dict[str, Any] = {"noise": given.noise, "data_range": (0, 1), "size": size}
    start = given.back if given.name == "phase retrieval" else None
    found = {}

    def run(name: str, image: Tensor | None, began: float) -> None:
        if image is not None:
            found[name] = (image, time.process_time() - began)

    run("measured", given.back, time.process_time())
    began = time.process_time()
    run("linear", wiener(given, shape, others), began)
    began = time.process_time()
    variations = [total_variation(given, shape, weight, start=start) for weight in VARIATIONS]
    run("total variation", max(variations, key=lambda image: quality(image, truth)), began)
    began = time.process_time()
    run("restore", restore(given.measure, given.y, prior, start=start, **settings).image, began)
    began = time.process_time()
    run("mean of 4 draws", restore(given.measure, given.y, prior, method="mean", draws=4, **settings).image, began)
    began = time.process_time()
    draw = sample_posterior(given.measure, given.y, prior, steps=30, zeta=0.3, sigma=(2, 0.02), **settings)
    run("one DiffPIR draw", draw.mean, began)
    return found


def square(image: Tensor, side: int) -> Tensor:
    """The middle of a photo; a larger one is not reduced further."""
    top, left = ((n - side) // 2 for n in image.shape[1:])
    return image[:, top : top + side, left : left + side]


def quality(image: Tensor, truth: Tensor) -> float:
    """PSNR of an image cut to [0, 1], in dB."""
    return metrics.psnr(image[0].clamp(0, 1).permute(1, 2, 0), truth[0].permute(1, 2, 0))


def draw(shown: list[tuple[str, dict[str, Tensor]]], path: Path) -> None:
    """Write the images, a labelled row for each problem and a column for each method, at twice their size."""
    columns = list(dict.fromkeys(name for _, images in shown for name in images))
    rows = [(problem.replace(" ", "\n"), [_twice(images.get(name)) for name in columns]) for problem, images in shown]
    save(labelled_grid(rows, columns), path)


def _twice(image: Tensor | None) -> Tensor | None:
    return (
        None if image is None else image[0].clamp(0, 1).permute(1, 2, 0).repeat_interleave(2, 0).repeat_interleave(2, 1)
    )


if __name__ == "__main__":
    run_app(app, "scorereg")
