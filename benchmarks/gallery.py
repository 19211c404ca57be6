"""What the gallery says of each example: `python -m benchmarks.gallery [NAME...] --results FILE`.

Runs the commands of the page docs/gallery.md, and keeps what they print, the processor's time and the clock's. Entries
of examples that are not named stay as they are.
"""

import json
import os
import platform
import resource
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from scorereg.cli import one_line_errors

ROOM = "examples/nerf_fewshot/room"
COMMANDS = {
    "demo": ["python -m examples.nerf_fewshot.demo --out runs/demo"],
    "complete_depth": ["python -m examples.complete_depth --frame 4"],
    "numpy_lbfgs": ["python -m examples.own_renderer.numpy_lbfgs"],
    "jax_renderer": ["python -m examples.own_renderer.jax_renderer"],
    "mitsuba_scene": ["python -m examples.own_renderer.mitsuba_scene"],
    "splats": [
        f"python -m examples.own_renderer.splats {ROOM} --regularize {kind} --out runs/splats/{kind}"
        for kind in ("none", "geometric", "prior")
    ],
    "ray_weights": [
        f"python -m examples.ray_weights {ROOM} --regularize {kind} --out runs/rays/{kind}"
        for kind in ("none", "distortion", "rays")
    ],
    "voxel_grid": [
        f"python -m examples.voxel_grid {ROOM} --regularize {kind} --out runs/voxels/{kind}"
        for kind in ("none", "tv", "blocks")
    ],
}
FIGURES = "psnr", "ssim", "depth_abs_rel", "floater_mass", "steps", "seed"


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Examples; all, if none is given.")] = None,
    results: Annotated[Path, typer.Option(help="File of the results.")] = Path("runs/gallery.json"),
) -> None:
    """Run, and write after each command."""
    if unknown := set(names or ()) - set(COMMANDS):
        raise ValueError(f"there is no example {', '.join(sorted(unknown))}; there are {', '.join(COMMANDS)}.")
    for name in names or COMMANDS:
        runs = []
        for command in COMMANDS[name]:
            runs.append(measured(command))
            typer.echo(f"{command}: {json.dumps(runs[-1]['figures'] or runs[-1]['printed'])}")
            found = json.loads(results.read_text(encoding="utf-8")) if results.exists() else {}
            found[name] = runs
            results.parent.mkdir(parents=True, exist_ok=True)
            results.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def measured(command: str) -> dict:
    """Run a command from the root of the repository, and return what is kept of it."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    words = [sys.executable, *shlex.split(command)[1:]]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    folder = words[words.index("--out") + 1] if "--out" in words else ""
    file = Path(folder) / "metrics.json"
    metrics = json.loads(file.read_text(encoding="utf-8")) if folder and file.is_file() else {}
    return {
        "command": command, "printed": done.stdout.strip().splitlines()[-12:],
        "figures": {name: metrics[name] for name in FIGURES if metrics.get(name) is not None},
        "processor_seconds": round(used, 1), "seconds": round(time.monotonic() - began, 1),
        "load_average": round(os.getloadavg()[0], 1), "cores": os.cpu_count(), "threads": os.getenv("OMP_NUM_THREADS"),
        "device": platform.processor() or platform.machine(),
    }  # fmt: skip


if __name__ == "__main__":
    with one_line_errors():
        typer.run(main)
