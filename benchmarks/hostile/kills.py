"""Kill commands at random moments, resume them, and compare what they leave with an uninterrupted run's, to the bit.

`python -m benchmarks.hostile.kills [--runs 20] [--json FILE]`: fit, train-prior, prepare and export, each so many
times. Of twenty kills sixteen are SIGKILL, two SIGINT and two SIGTERM. Times and rates are not compared.

A killed run is a copy (fork) of a process that has done the same command once before, so that the seconds that
importing and compiling take are not what is killed. States of fits are saved five times a second, not once in ten.
"""

import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.hostile.leavings import differences
from benchmarks.hostile.samples import write_frames

ROOM = Path(__file__).resolve().parents[2] / "examples" / "nerf_fewshot" / "room"
COMMANDS = ("prepare", "export", "train-prior", "fit")
SIGNALS = (signal.SIGINT, signal.SIGTERM, *[signal.SIGKILL] * 8)
_PATIENCE = 1800.0  # seconds after which a command is taken to hang


@dataclass
class Job:
    """A command that can be resumed.

    Args:
        words: Its command line; OUT stands for the folder that it writes.
        again: What is added to go on.
    """

    words: tuple[str, ...]
    again: tuple[str, ...] = ()

    def line(self, out: Path, *, again: bool) -> list[str]:
        return [word.replace("OUT", str(out)) for word in (*self.words, *(self.again if again else ()))]


@dataclass
class Tally:
    """What became of a command's kills.

    Args:
        seconds: Of the uninterrupted run.
        held: Runs that ended as that one.
        kills: Number of kills by signal.
        shares: Moments of the kills, as shares of those seconds.
        failed: What differed, a line each.
    """

    seconds: float = 0.0
    held: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    shares: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def main(
    runs: Annotated[int, typer.Option(min=1, help="Kills of each command.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the moments.")] = 0,
    only: Annotated[list[str] | None, typer.Option(help=f"Commands: {', '.join(COMMANDS)}.")] = None,
    out: Annotated[Path | None, typer.Option("--json", help="File for the counts and what failed.")] = None,
) -> None:
    """Kill commands, resume them, and print how many end as if nothing had happened."""
    began, tallies = time.monotonic(), {}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        jobs = _prepared(root)
        for command in only or COMMANDS:
            tallies[command] = tally = kill_often(jobs[command], root / command, runs, seed)
            print(f"{command:12s}{tally.held} of {runs} held; {tally.seconds:.1f} s uninterrupted", flush=True)
            for line in tally.failed:
                print(f"  {line}", flush=True)
            if out is not None:
                table = {name: {**vars(tally), "runs": runs} for name, tally in tallies.items()}
                facts = {"runs": runs, "seed": seed, "seconds": round(time.monotonic() - began), "commands": table}
                out.write_text(json.dumps(facts, indent=1) + "\n")
    if any(tally.failed for tally in tallies.values()):
        raise typer.Exit(1)


def kill_often(job: Job, root: Path, runs: int, seed: int) -> Tally:
    """Run a command once to its end, then kill and resume it so many times; each in a folder of its own."""
    tally, draw = Tally(), random.Random(seed)
    root.mkdir()
    begin(job, root / "first", root / "log", again=False, here=True)  # imports and compiles
    whole = root / "whole"
    began = time.monotonic()
    code, _ = finish(begin(job, whole, root / "log", again=False))
    tally.seconds = round(time.monotonic() - began, 2)
    if code != 0:
        raise RuntimeError(f"the command {' '.join(job.words)} ends with {code}: {(root / 'log').read_text()[-2000:]}")
    for number in range(runs):
        kind = SIGNALS[number % len(SIGNALS)]
        parted, log = root / f"{number}", root / f"{number}.log"
        share = kill_once(job, parted, log, kind, tally.seconds, draw)
        code, _ = finish(begin(job, parted, log, again=True))
        found = differences(whole, parted) if code == 0 else [f"it ends with {code}: {log.read_text()[-600:]}"]
        tally.kills[kind.name] += 1
        tally.shares.append(round(share, 3))
        tally.held += not found
        if found:
            tally.failed.append(f"{kind.name} at {share:.3f}: {' | '.join(found[:4])}")
    return tally


def kill_once(job: Job, out: Path, log: Path, kind: signal.Signals, seconds: float, draw: random.Random) -> float:
    """Begin a command and kill it at a random moment; one that has ended before is begun again. Returns the moment."""
    while True:
        pid, moment = begin(job, out, log, again=out.exists()), seconds * draw.random()
        time.sleep(moment)
        ended, _ = os.waitpid(pid, os.WNOHANG)
        if not ended:
            os.kill(pid, kind)
            finish(pid)
            return moment / seconds
        for path in sorted(out.rglob("*"), reverse=True):  # it was faster than the first
            path.rmdir() if path.is_dir() else path.unlink()
        out.rmdir()


def begin(job: Job, out: Path, log: Path, *, again: bool, here: bool = False) -> int:
    """Run a command in a copy of this process, whose id is returned; or in this one."""
    from scorereg.cli.command import app
    from scorereg.cli.errors import run_app

    pid = 0 if here else os.fork()
    if pid:
        return pid
    code: Any = 1
    kept = os.dup(1), os.dup(2)
    try:
        with log.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.argv = ["scorereg", *job.line(out, again=again)]
        run_app(app, "scorereg")
    except SystemExit as error:
        code = error.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        if not here:
            os._exit(code if isinstance(code, int) else 1)
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)
        if code != 0:
            raise RuntimeError(f"{' '.join(sys.argv)} ends with {code}: {log.read_text()[-2000:]}")
    return 0


def finish(pid: int) -> tuple[int, float]:
    """Wait for a process, and return its exit code and the seconds that it took."""
    began = time.monotonic()
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), time.monotonic() - began
        if time.monotonic() - began > _PATIENCE:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _prepared(root: Path) -> dict[str, Job]:
    """The commands, with small inputs; what takes long and is not of interest here is cut short."""
    import torch

    from scorereg.fit import checkpoint
    from scorereg.priors.sampling import sample
    from scorereg.training import report

    torch.set_num_threads(1)
    full = report.measure
    checkpoint.SECONDS = 0.2
    report.measure = lambda prior, source, **how: full(prior, source, count=8, fit=32, **how)
    report.sample = lambda prior, count: sample(prior, 4, steps=2)
    frames = str(root / "frames")
    write_frames(root / "frames", scenes=4, views=10)
    train = (
        *("train-prior", frames, "--out", "OUT", "--network", "tiny", "--steps", "30", "--save-every", "4"),
        *(
            "--batch",
            "4",
            "--patch",
            "16",
            "--focal",
            "20",
            "40",
            "--workers",
            "0",
            "--precision",
            "fp32",
            "--log",
            "jsonl",
        ),
    )
    jobs = {
        "prepare": Job(("prepare", frames, "--out", "OUT", "--shard-frames", "3", "--focal", "40")),
        "train-prior": Job(train, ("--resume",)),
        "fit": Job(
            ("fit", str(ROOM), "--out", "OUT", "--max-size", "32", "--steps", "16", "--rays", "32", "--video", "4"),
            ("--resume",),
        ),
    }
    begin(jobs["train-prior"], root / "run", root / "log", again=False, here=True)
    jobs["export"] = Job(("export", str(root / "run"), "--out", "OUT", "--measure", frames))
    return jobs


if __name__ == "__main__":
    typer.run(main)
