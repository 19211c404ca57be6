"""Read what a stranger might send: `python -m benchmarks.hostile [--damages 500] [--json FILE]`.

The first half are inputs that were made to do harm (`cases.py`), each given to the command that reads its kind, in a
process of its own under a limit of memory and time. A reader should refuse it in one line that names the file, warn of
it, or read what the whole input gives. The second half are random damages (`damage.py`) of files of a scene, a folder
of frames, and priors in three formats, read in this process. Damages of pixels and points that leave a readable file
are counted apart, as no reader can tell them from other pixels.
"""

import dataclasses
import itertools
import json
import resource
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.hostile.campaign import VERDICTS, campaign
from benchmarks.hostile.case import Case
from benchmarks.hostile.cases import ALL, find_cases
from benchmarks.hostile.damage import damage_folder
from benchmarks.hostile.probe import Values, probe, read_all
from benchmarks.hostile.samples import KINDS, make_sample

COLUMNS = (*VERDICTS[:3], "pixels", *VERDICTS[3:])
FAULTS = COLUMNS[4:]
_WORDS = {"refused": "one line", "same": "harmless", "changed pixels": "pixels", "changed": "silent"}
_EVERY = 10  # rows after which the file is written


def main(
    damages: Annotated[int, typer.Option(min=0, help="Number of damages, spread over the kinds of input.")] = 500,
    seed: Annotated[int, typer.Option(help="Number of the first damage.")] = 0,
    only: Annotated[str, typer.Option(help="Hostile cases whose names hold this; none runs none.")] = "",
    kind: Annotated[list[str] | None, typer.Option(help="Kinds of hostile cases; repeatable.")] = None,
    memory: Annotated[float, typer.Option(help="GiB of address space that a reading may add.")] = 2.0,
    seconds: Annotated[float, typer.Option(help="Seconds that a command may compute, or wait.")] = 40.0,
    out: Annotated[
        Path | None, typer.Option("--json", help="File for the counts, and for what was not refused in one line.")
    ] = None,
) -> None:
    """Give hostile inputs to the command line, damage whole ones at random, and print a table of what became of all."""
    settings = {"damages": damages, "seed": seed, "memory_gib": memory, "seconds": seconds}
    rows = list[dict[str, Any]]()
    cases = run_cases([] if only == "none" else find_cases(kind, only), memory, seconds)
    for row in itertools.chain(cases, run_damages(damages, seed, memory)):
        rows.append(row)
        _tell(row)
        if out is not None and len(rows) % _EVERY == 0:
            write(out, rows, settings)
    for title, cells in [("", COLUMNS), *((k, [count[v] for v in COLUMNS]) for k, count in table_of(rows).items())]:
        print(f"{title:20s}" + "".join(f"{cell:>15}" for cell in cells))
    if out is not None:
        write(out, rows, settings)


def write(out: Path, rows: list[dict[str, Any]], settings: dict[str, Any]) -> None:
    """Write the counts, and the rows of what was not refused in one line."""
    cases = [row for row in rows if not row["kind"].startswith("damage")]
    table = {
        "cases": len(cases), **settings, "counts": table_of(rows),
        "rows": [row for row in rows if row["verdict"] not in ("one line", "harmless", "pixels")],
        "read as the whole": [row["name"] for row in cases if row["verdict"] == "harmless"],
    }  # fmt: skip
    out.write_text(json.dumps(table, indent=1) + "\n")


def run_cases(cases: list[Case], memory: float, seconds: float) -> Iterator[dict[str, Any]]:
    """Run hostile cases one after another."""
    if not cases:
        return
    with tempfile.TemporaryDirectory() as name, campaign(Path(name), memory=memory, seconds=seconds) as running:
        for case in cases:
            yield dataclasses.asdict(running.run(case))


def run_damages(damages: int, seed: int, memory: float) -> Iterator[dict[str, Any]]:
    """Damage whole inputs at random and read them, in this process, whose memory is limited from now on."""
    if not damages:
        return
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        whole = make_samples(list(KINDS), root)
        _limit_memory(memory)
        for number in range(seed, seed + damages):
            row = try_damage(number, KINDS[number % len(KINDS)], root, whole)
            verdict = _WORDS.get(row["verdict"], row["verdict"])
            title = f"{row['number']} {row['file']}, {row['damage']}"
            yield {"name": title, "kind": f"damaged {row['kind']}", "verdict": verdict, "text": row["text"]}


def table_of(rows: list[dict[str, Any]]) -> dict[str, Counter[str]]:
    """Count verdicts by kind, and over all hostile cases and all damages."""
    counts = dict[str, Counter[str]]()
    kinds = [group.kind for group in ALL]
    for total in ("all cases", "all damages"):
        part = [row for row in rows if (row["kind"] in kinds) == (total == "all cases")]
        for kind in dict.fromkeys(row["kind"] for row in part):
            counts[kind] = Counter(row["verdict"] for row in part if row["kind"] == kind)
        counts[total] = Counter(row["verdict"] for row in part)
    return counts


def make_samples(kinds: list[str], root: Path) -> dict[str, Values]:
    """Write a whole input of each kind into `root / "whole"`, and return what each reads as."""
    for which in kinds:
        make_sample(which, root / "whole" / which)
    return {which: read_all(which, root / "whole" / which) for which in kinds}


def try_damage(number: int, kind: str, root: Path, whole: dict[str, Values]) -> dict[str, Any]:
    """Copy the whole input of a kind, damage the copy, read it, and return what happened as a row of the table."""
    folder = root / f"{kind}-{number}"
    shutil.copytree(root / "whole" / kind, folder)
    done = damage_folder(folder, number)
    outcome = probe(kind, folder, whole[kind])
    shutil.rmtree(folder)
    verdict = "changed pixels" if outcome.verdict == "changed" and done.pixels else outcome.verdict
    text = " ".join(outcome.text.replace(str(root), "").split())
    return {
        "number": number, "kind": kind, "file": done.file, "damage": done.what, "verdict": verdict, "text": text
    }  # fmt: skip


def _tell(row: dict[str, Any]) -> None:
    if row["verdict"] in FAULTS:
        print("{kind}: {name}: {verdict}: {text:.200s}".format(**row), flush=True)


def _limit_memory(gigabytes: float) -> None:
    """Let allocations beyond a limit fail, so that a file that asks for more is seen."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + int(gigabytes * 2**30), resource.getrlimit(resource.RLIMIT_AS)[1]))


if __name__ == "__main__":
    typer.run(main)
