"""Damage whole inputs at random and read them: `python -m benchmarks.hostile [--damages 300] [--json FILE]`.

Each damage is one of a file of a scene, of a folder of frames, or of a prior in three formats. A reader should refuse
it in one line that names the file, warn of it, or read what the whole input gives. Damages of pixels and points that
leave a readable file are counted apart, as no reader can tell them from other pixels.
"""

import json
import resource
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.hostile.damage import damage_folder
from benchmarks.hostile.probe import Values, probe, read_all
from benchmarks.hostile.samples import KINDS, make_sample

VERDICTS = ("refused", "warned", "same", "changed pixels", "changed", "unclear", "traceback")
FAULTS = VERDICTS[4:]


def main(
    damages: Annotated[int, typer.Option(min=1, help="Number of damages, spread over the kinds of input.")] = 300,
    seed: Annotated[int, typer.Option(help="Number of the first damage.")] = 0,
    kind: Annotated[list[str] | None, typer.Option(help=f"Kinds of input: {', '.join(KINDS)}.")] = None,
    memory: Annotated[float, typer.Option(help="Gigabytes of address space that a reading may add.")] = 2.0,
    out: Annotated[
        Path | None,
        typer.Option("--json", help="File for the counts, and the damages that were neither refused nor harmless."),
    ] = None,
) -> None:
    """Damage inputs, read them, and print a table."""
    rows, kinds = list[dict[str, Any]](), kind or list(KINDS)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        whole = make_samples(kinds, root)
        _limit_memory(memory)
        for number in range(seed, seed + damages):
            rows.append(row := try_damage(number, kinds[number % len(kinds)], root, whole))
            if row["verdict"] in FAULTS:
                print("{number} {kind}: {file}, {damage}: {verdict}: {text:.200s}".format(**row), flush=True)
    counts = {which: Counter(row["verdict"] for row in rows if row["kind"] == which) for which in kinds}
    for title, cells in [("", VERDICTS), *((which, [count[v] for v in VERDICTS]) for which, count in counts.items())]:
        print(f"{title:12s}" + "".join(f"{cell:>16}" for cell in cells))
    if out is not None:
        told = [row for row in rows if row["verdict"] not in ("refused", "same")]
        table = {"damages": damages, "seed": seed, "counts": counts, "rows": told}
        out.write_text(json.dumps(table, indent=1) + "\n")


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


def _limit_memory(gigabytes: float) -> None:
    """Let allocations beyond a limit fail, so that a file that asks for more is seen."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + int(gigabytes * 1e9), resource.getrlimit(resource.RLIMIT_AS)[1]))


if __name__ == "__main__":
    typer.run(main)
