"""Each operation against its alternatives, in one run.

    python -m benchmarks.ops [--device cpu|cuda] [--json]

The ways to do one thing take turns, and a ratio is the median over the turns of other / ours, so that a machine that is
busy elsewhere slows both alike. On a CPU the time is that of the process with its one thread, and that of the clock
where `--threads` asks for more, which needs a quiet machine. Where it is known what has to move through memory at
least, it is reported as a share of the bandwidth at which the device copies a large tensor in the same run.
`memory_ratio` is of the most that tensors hold at once.
"""

import importlib.metadata
import json
import platform
import statistics
import subprocess
from itertools import chain
from typing import Annotated, Any

import torch
import typer

from benchmarks import ops_hash, ops_patches, ops_rays
from benchmarks.memory import most_bytes
from benchmarks.ops_case import Case, measure, ratio, void


def main(
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 1,
    only: Annotated[str | None, typer.Option(help="Only this operation.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, last.")] = False,
) -> None:
    """Print a line for each case and alternative."""
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    copied = _copy_bandwidth(device)
    about = {
        "device": _device(device),
        "driver": _driver(device),
        "torch": torch.__version__,
        "triton": _version("triton"),
        "threads": threads,
        "copy_gb_per_s": round(copied / 1e9, 1),
    }
    rows: list[dict[str, Any]] = []
    for case in chain(ops_patches.cases(device), ops_rays.cases(device)):
        if only in (None, case.op):
            rows += _show(_rows(case, device, copied), as_json)
    if only in (None, "hash_encode"):
        rows += _show(ops_hash.rows(device), as_json)
    if as_json:
        typer.echo(json.dumps({**about, "rows": rows}))


def _rows(case: Case, device: str, copied: float) -> list[dict[str, Any]]:
    taken = measure(case, device)
    ours = taken.pop("ours")
    middle = statistics.median(ours)
    more: dict[str, Any] = {}
    if case.bytes is not None:
        more["bandwidth_share"] = round(1e3 * case.bytes / middle / copied, 3)
    rows = []
    for name, other in taken.items():
        row = {"op": case.op, "case": case.what, "against": name, "ours_ms": round(middle, 3)}
        row |= {"other_ms": round(statistics.median(other), 3), "ratio": round(ratio(ours, other), 3)}
        rows.append(row | more)
        if name == "O(N^2)":
            held = [most_bytes(case.runs[which]) for which in (name, "ours")]
            rows[-1]["memory_ratio"] = round(held[0] / held[1], 1)
    return rows


def _show(rows: list[dict[str, Any]], quiet: bool) -> list[dict[str, Any]]:
    for r in rows if not quiet else []:
        typer.echo(
            f"{r['op']}, {r['case']}: {r['ours_ms']} ms, {r['against']} {r['other_ms']} ms, ratio {r['ratio']}"
            + "".join(f", {key} {r[key]}" for key in ("bandwidth_share", "memory_ratio") if key in r)
        )
    return rows


def _copy_bandwidth(device: str) -> float:
    """Bytes a second, read and written, of a copy that no cache holds."""
    source = torch.ones(2**26, device=device)
    target = torch.empty_like(source)
    taken = measure(Case("copy", "", {"ours": lambda: void(target.copy_(source))}, repeats=7), device)["ours"]
    return 2 * source.nbytes / (statistics.median(taken) / 1e3)


def _device(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else f"{platform.machine()} CPU"


def _driver(device: str) -> str | None:
    """Version of the GPU's driver, as it says itself."""
    if device != "cuda":
        return None
    words = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()[0]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
