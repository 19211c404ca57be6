"""The few-view protocols of the literature: `python -m benchmarks.protocol llff|dtu|rooms FOLDER... --out DIR`.

Fits every scene with the protocol's views, in every way, with every seed, and measures the held-out views. `DIR` gets
`table.json` with a row for each fit, `table.md` and `table.tex`. A row that is there is not computed again, and an
interrupted fit goes on, so the same command again is always right. docs/protocols.md has the definitions.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, get_args

from benchmarks.protocol_published import SOURCE, published
from benchmarks.protocol_rows import How, fit_row, terms_of
from benchmarks.protocol_splits import PROTOCOLS, Job, jobs_of
from benchmarks.protocol_tables import as_latex, as_markdown, lines_of
from scorereg._device import choose_device
from scorereg._io import check_folder, hold_folder, read_json, write_beside
from scorereg.cli import one_line_errors
from scorereg.cli.errors import plain_warnings
from scorereg.fit import PRESETS, Regularize
from scorereg.metrics import lpips_lacks


class _Parser(argparse.ArgumentParser):
    """Errors are one line, as those of all commands."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}. See --help.")


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = _Parser(prog="python -m benchmarks.protocol", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("protocol", choices=PROTOCOLS, help="whose splits and sizes")
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="folders of the scenes")
    parser.add_argument("--views", nargs="+", type=int, metavar="N", help="training views (3 6 9; of rooms 3)")
    parser.add_argument("--regularize", nargs="+", choices=get_args(Regularize), default=["geometric", "prior"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N")
    parser.add_argument("--steps", type=int, metavar="N", help="steps of a fit (the preset's)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the tables")
    parser.add_argument("--members", type=int, default=1, metavar="K", help="members of each fit, an ensemble (1)")
    parser.add_argument("--preset", choices=list(PRESETS), default="cpu")
    parser.add_argument("--rays", type=int, metavar="N", help="photo rays a step (the preset's)")
    parser.add_argument("--prior", default="rooms-rgbd-24", help="prior over RGB-D patches: a shipped name or a folder")
    parser.add_argument("--ray-prior", default="rays-64", help="prior over ray weights beside it, or none")
    parser.add_argument("--lpips", choices=("alex", "vgg", "none"), default="alex", help="network of LPIPS")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="where to compute (cuda where there is one)")
    given = parser.parse_args(words)
    given.views = given.views or ([3] if given.protocol == "rooms" else [3, 6, 9])
    for name in ("views", "regularize", "seeds"):
        setattr(given, name, list(dict.fromkeys(getattr(given, name))))
    for name in ("steps", "rays", "members"):
        if getattr(given, name) is not None and getattr(given, name) < 1:
            raise ValueError(f"--{name} must be at least 1, but is {getattr(given, name)}.")
    if min(given.seeds) < 0:
        raise ValueError(f"--seeds must be 0 or more, but one is {min(given.seeds)}.")
    return given


def main(words: Sequence[str]) -> dict:
    """Fit, measure, and write the tables; return what `table.json` holds."""
    given = parse(words)
    preset = PRESETS[given.preset]
    how = How(given.preset, given.rays or preset.recipe.rays, given.prior, given.ray_prior, given.lpips, given.members)
    steps = given.steps or preset.recipe.steps
    jobs = jobs_of(given.protocol, given.folders, given.views, given.regularize, given.seeds, steps)
    out, device = given.out, choose_device(given.device)
    check_folder(out)
    with hold_folder(out), goes_on():
        report = read_report(out, given.protocol)
        missing = [job for job in jobs if not find(report["rows"], job, how, out)]
        _say(f"{len(jobs)} fits, of which {len(jobs) - len(missing)} are in {out / 'table.json'}")
        if lacks := lpips_lacks(given.lpips) if given.lpips != "none" else None:
            _say(f"No LPIPS and no Average: {lacks}")
        for kind in dict.fromkeys(job.regularize for job in missing):
            terms_of(kind, how, device)  # a prior that cannot be used is named before the first fit
        for job in missing:
            state = out / "fits" / f"{job.scene}-{job.views}-{job.regularize}-{job.seed}-{job.steps}" / "fit.pt"
            check_folder(state.parent)
            report["rows"].append(fit_row(given.protocol, job, how, state, device))
            write_report(report, out, lacks)
            for file in state.parent.glob("fit*.pt"):
                file.unlink()
            state.parent.rmdir()
            if not any(state.parents[1].iterdir()):
                state.parents[1].rmdir()
        write_report(report, out, lacks)
    print(as_markdown(report), end="")
    return report


@contextmanager
def goes_on() -> Iterator[None]:
    """Say after an interrupt that nothing is lost."""
    try:
        yield
    except KeyboardInterrupt:
        _say("Interrupted: the same command goes on from here.")
        raise


def read_report(out: Path, protocol: str) -> dict:
    """What `table.json` holds; an empty table where there is none.

    Raises:
        ValueError: If it is damaged, or of another protocol.
    """
    path = out / "table.json"
    if not path.exists():
        return {"protocol": protocol, "rows": []}
    report = read_json(path, "Restore it, or remove it: then all rows are computed again.")
    rows = report.get("rows")
    needed = {"scene", "views", "regularize", "seed", "steps"}
    if not isinstance(rows, list) or not all(isinstance(row, dict) and needed <= set(row) for row in rows):
        raise ValueError(f"{path} has no `rows` of fits. Restore it, or remove it: then all rows are computed again.")
    if report.get("protocol") != protocol:
        raise ValueError(f"{path} is of the protocol {report.get('protocol')}, not {protocol}. Give another --out.")
    return {"protocol": protocol, "rows": rows}


def find(rows: Sequence[dict], job: Job, how: How, out: Path) -> bool:
    """Whether a fit has its row.

    Raises:
        ValueError: If the row is of a fit with other settings.
    """
    row = next((row for row in rows if job.matches(row)), None)
    if row is None:
        return False
    asked = how.told(job.regularize)
    differ = [f"{name} {row.get(name)}, not {value}" for name, value in asked.items() if row.get(name) != value]
    if differ:
        raise ValueError(
            f"{out / 'table.json'}: the row of {job.scene}, {job.views} views, {job.regularize}, seed {job.seed} is of "
            f"a fit with {'; '.join(differ)}. Give another --out, or remove the row."
        )
    return True


def write_report(report: dict, out: Path, lacks: str | None) -> None:
    """Write the table in its three forms, each whole or not at all."""
    views = sorted({row["views"] for row in report["rows"]})
    report["lines"], report["published"] = lines_of(report["rows"]), published(report["protocol"], views)
    report["notes"] = notes_of(report, lacks)
    texts = {
        "table.json": json.dumps(report, indent=1, allow_nan=False) + "\n",
        "table.md": as_markdown(report),
        "table.tex": as_latex(report),
    }
    for name, text in texts.items():
        write_beside(out / name, lambda path, text=text: path.write_text(text, encoding="utf-8"))


def notes_of(report: dict, lacks: str | None) -> list[str]:
    """What a reader of the table has to know."""
    nets = sorted({row["lpips_net"] for row in report["rows"] if row.get("lpips") is not None})
    notes = ["Medians over the seeds; means over scenes are of these. PSNR in dB, of each photo, then averaged."]
    if nets:
        notes.append(f"LPIPS 0.1 with {', '.join(nets)}, images in [-1, 1]; Average with it and SSIM 7x7.")
    if lacks:
        notes.append(f"No LPIPS and no Average: {lacks}")
    if report["published"]:
        notes.append(f"Published: {SOURCE}")
    return notes


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    with one_line_errors("protocol"), plain_warnings("protocol"):
        main(sys.argv[1:])
