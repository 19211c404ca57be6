"""Which RGB-D prior to take, by what priors do: `python -m benchmarks.rank_priors [PRIOR...] [--json]`.

Every figure is an error as a ratio to that of something without a learned prior; below 1 the prior is better.

    denoising    square root of the ratio of squared errors to the best stationary linear filter, at sigma .02 to .5, of
                 colours and disparity, on held-out rooms and on NYU: as the prior's card has it
    completion   of depth that is known at 2 % of a frame's pixels, as in `examples.complete_depth`: mean relative error
                 and RMSE, to linear interpolation of the disparity
    few views    of fits to three photos, to fits with hand-made terms alone: mean relative error of the depth, and
                 10^(-dB / 20) for the gain in PSNR, a ratio of RMS errors: from what `benchmarks.few_views` wrote, of
                 runs with this prior, beside the one over ray weights

The figure of a part is the geometric mean of its ratios, the score that of its parts. Only ratios that all the priors
have count in the score, so that all are asked the same; a part without any is left out. A PRIOR is a shipped one's
name, a folder, or `gaussian`: a Gaussian field, whose denoiser is the linear filter (1 by definition), and which
completes depth with its slope, mean and size fitted to the known pixels.
"""

import json
import math
import platform
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks.few_views import table as medians
from examples.complete_depth import OVERLAP, errors, gaussian, given, interpolator, with_prior
from examples.rgbd_frame import D_MIN, FOCAL, ROOM, RGBDFrame, read_frame
from scorereg import RGBD, _progress, load_prior
from scorereg.cli import one_line_errors
from scorereg.priors import NetworkPrior, Prior, TiledPrior, WrappedPrior, shipped_priors

COLUMNS = (
    "denoising, held-out", "denoising, nyu", "completion, abs_rel", "completion, rmse", "few views, psnr",
    "few views, abs_rel",
)  # fmt: skip
SETS, GROUPS, SIGMAS = ("held-out", "nyu"), ("rgb", "disparity"), (0.02, 0.05, 0.1, 0.2, 0.5)
FRAMES = (
    ("bundled room", 0), ("bundled room", 4), ("rooms-eval/room-01000", 0), ("rooms-eval/room-01001", 0),
    ("rooms-eval/room-01002", 0), ("kitchen", 60), ("nyu", 300),
)  # fmt: skip
_FIGURES = ("psnr", "depth_abs_rel")
FIELD = "gaussian"
FITS = Path(__file__).parent / "results" / "few_views.json"
Key = tuple[str, ...]  # the part, and what of it
Ratios = dict[Key, float]


def main(
    priors: Annotated[
        list[str] | None, typer.Argument(help="Names, folders, or gaussian; all that ship, and it.")
    ] = None,
    data: Annotated[Path, typer.Option(envvar="SCOREREG_DATA", help="Folder with rooms-eval, kitchen and nyu.")] = Path(
        "data"
    ),
    fits: Annotated[
        list[Path] | None,
        typer.Option(help="What benchmarks.few_views wrote; repeatable. Its results here, if not given."),
    ] = None,
    results: Annotated[Path | None, typer.Option(help="Write the result here as well.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, last.")] = False,
) -> None:
    """Measure what is not measured yet, compare, and print a table."""
    named = {name: prior_of(name) for name in priors or [*rgbd_priors(), FIELD]}
    frames, missing = frames_of(data)
    runs = [row for path in fits or [FITS] for row in json.loads(path.read_text(encoding="utf-8"))["rows"]]
    rows = []
    for name, prior in named.items():
        each = _progress.steps(f"{name}: completing depth, frames", frames)
        completed = [completion(prior, title, frame) for title, frame in each]
        ratios = denoising(prior) | completion_ratios(completed) | few_views(name, runs)
        rows.append({"prior": name, "ratios": ratios, "completion": completed})
        typer.echo(f"{name}: {len(ratios)} ratios", err=True)
    rows = ranked(rows)
    for title in missing:
        typer.echo(f"left out, as it is not in {data}: {title}", err=True)
    about = {"device": platform.processor() or platform.machine(), "torch": torch.__version__}
    report = about | {"left_out": missing, "rows": [as_written(row) for row in rows]}
    if results is not None:
        results.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for line in in_columns(rows):
        typer.echo(line)
    if as_json:
        typer.echo(json.dumps(report))


def rgbd_priors() -> list[str]:
    """Names of the shipped priors of RGB-D patches."""
    return [name for name in shipped_priors() if tuple(load_prior(name).channels) == RGBD.channels]


def prior_of(name: str) -> NetworkPrior | WrappedPrior | None:
    """The prior of a name; None is the Gaussian field.

    Raises:
        ValueError: If it is not of RGB-D patches in the units of the frames.
    """
    if name == FIELD:
        return None
    prior = load_prior(name)
    card = prior.card
    if card.channels != RGBD.channels:
        raise ValueError(f"what is ranked are priors of {', '.join(RGBD.channels)}, but {name} is of {prior.channels}.")
    if card.d_min != D_MIN or not (card.focal and card.focal[0] <= FOCAL <= card.focal[1]):
        raise ValueError(
            f"the frames are of d_min {D_MIN:g} m and focal length {FOCAL:g} pixels, but the card of {name} says "
            f"{card.d_min} and {card.focal}. Rank priors that were trained for these."
        )
    return prior


def frames_of(data: Path) -> tuple[list[tuple[str, RGBDFrame]], list[str]]:
    """Frames by title, and the titles of those whose folders are not there."""
    found, missing = [], []
    for folder, index in FRAMES:
        path = ROOM if folder == "bundled room" else data / folder
        title = f"{folder.removeprefix('rooms-eval/')}, {index}"
        if path.is_dir():
            found.append((title, read_frame(path, index)))
        else:
            missing.append(title)
    return found, missing


def denoising(prior: NetworkPrior | WrappedPrior | None) -> Ratios:
    """Ratios of RMS errors to the linear filter's by data, channels and sigma: those of the card."""
    if prior is None:
        return {("denoising", data, group, f"{s:g}"): 1.0 for data in SETS for group in GROUPS for s in SIGMAS}
    measured = [(data, row) for data in SETS for row in prior.card.denoising.get(data, []) if row["sigma"] in SIGMAS]
    return {
        ("denoising", data, group, f"{row['sigma']:g}"): (row[group] / row[f"{group}_linear"]) ** 0.5
        for data, row in measured
        for group in GROUPS
    }


def completion(prior: Prior | None, title: str, frame: RGBDFrame) -> dict[str, Any]:
    """Errors of a frame's completed depth, in metres and relative, and those of interpolation."""
    mask = given(frame)
    known = torch.where(mask, frame.disparity, 0)
    linear = errors(interpolator(mask)(known), frame, mask)
    if prior is None:
        answer = gaussian(known, mask)
    else:
        answer = with_prior(TiledPrior(prior, overlap=OVERLAP), frame.rgb, known, mask)
    ours = errors(answer, frame, mask)
    figures = zip(("rmse", "abs_rel", "rmse_linear", "abs_rel_linear"), (*ours, *linear), strict=True)
    return {"frame": title, **dict(figures)}


def completion_ratios(rows: list[dict[str, Any]]) -> Ratios:
    """Ratios to interpolation by frame and figure."""
    return {
        ("completion", row["frame"], figure): row[figure] / row[f"{figure}_linear"]
        for row in rows
        for figure in ("abs_rel", "rmse")
    }


def few_views(name: str, runs: list[dict[str, Any]]) -> Ratios:
    """Ratios to the fits without the prior by scene and figure, of medians over the seeds."""
    ratios: Ratios = {}
    ours = [run for run in runs if run["regularize"] == "prior" and run["prior"] == name]
    for scene, steps in dict.fromkeys((run["scene"], run["steps"]) for run in ours):
        both = [*ours, *(run for run in runs if run["regularize"] == "geometric")]
        here = [run for run in both if (run["scene"], run["steps"]) == (scene, steps)]
        lines = {line["regularize"]: line for line in medians(here, _FIGURES)}
        if "geometric" not in lines:
            continue
        with_it, without = lines["prior"], lines["geometric"]
        key = ("few views", scene, f"{steps} steps")
        ratios[*key, "psnr"] = 10 ** ((without["psnr"] - with_it["psnr"]) / 20)
        if with_it["depth_abs_rel"] is not None and without["depth_abs_rel"] is not None:
            ratios[*key, "abs_rel"] = with_it["depth_abs_rel"] / without["depth_abs_rel"]
    return ratios


def ranked(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with their scores, the best first, and with the `figures` of the table, by column.

    A score is the geometric mean of the parts', of what all the rows have; so is a figure, or of all that the row has
    where the rows have nothing in common: those columns are not `compared`.
    """
    shared = set.intersection(*(set(row["ratios"]) for row in rows))
    compared, done = sorted({column(key) for key in shared}), []
    for row in rows:
        common = {key: value for key, value in row["ratios"].items() if key in shared}
        parts = means(common, lambda key: key[0])
        score = statistics.geometric_mean(parts.values()) if parts else None
        figures = means(row["ratios"], column) | means(common, column)
        done.append(row | {"score": score, "parts": parts, "figures": figures, "compared": compared})
    return sorted(done, key=lambda row: row["score"] or 0.0)


def column(key: Key) -> str:
    """Which column of the table a ratio belongs to: by data for denoising, by figure for the rest."""
    return f"{key[0]}, {key[1] if key[0] == 'denoising' else key[-1]}"


def means(ratios: Ratios, group: Callable[[Key], str]) -> dict[str, float]:
    """Geometric means of ratios, by group."""
    groups: dict[str, list[float]] = {}
    for key, value in ratios.items():
        groups.setdefault(group(key), []).append(value)
    return {name: statistics.geometric_mean(values) for name, values in groups.items()}


def as_written(row: dict[str, Any]) -> dict[str, Any]:
    """A row for JSON: text in place of tuples."""
    return row | {"ratios": {" ".join(key): round(value, 4) for key, value in row["ratios"].items()}}


def in_columns(rows: list[dict[str, Any]]) -> list[str]:
    """The table, a line for each prior; in brackets what has no part in the score, and a gain in PSNR in dB."""
    width = max(len(row["prior"]) for row in rows)
    lines = [f"{'prior':<{width}}{''.join(f'{name:>22}' for name in COLUMNS)}{'score':>8}"]
    for row in rows:
        cells = [cell(row["figures"].get(name), name, name in row["compared"]) for name in COLUMNS]
        score = "-" if row["score"] is None else f"{row['score']:.3f}"
        lines.append(f"{row['prior']:<{width}}{''.join(f'{text:>22}' for text in cells)}{score:>8}")
    return lines


def cell(ratio: float | None, name: str, counts: bool) -> str:
    """A figure in the table."""
    if ratio is None:
        return "-"
    text = f"{-20 * math.log10(ratio):+.2f} dB" if name.endswith("psnr") else f"{ratio:.3f}"
    return text if counts else f"({text})"


if __name__ == "__main__":
    with one_line_errors("rank_priors"), _progress.told():
        typer.run(main)
