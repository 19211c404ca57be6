"""Run hostile cases by the command line, each in a process of its own under a limit of memory and time, and judge."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

from benchmarks.hostile.case import COMMANDS, Case, Place
from benchmarks.hostile.results import RUNS, result_of
from benchmarks.hostile.server import serve
from benchmarks.hostile.wholes import Wholes

__all__ = ["VERDICTS", "Campaign", "Row", "campaign", "judge"]

Verdict = Literal[
    "one line", "warned", "harmless", "silent", "unclear", "traceback", "memory", "hung", "code run", "placed outside"
]
VERDICTS: tuple[Verdict, ...] = (
    "one line", "warned", "harmless", "silent", "unclear", "traceback", "memory", "hung", "code run", "placed outside",
)  # fmt: skip
"""One line: refused so. Warned: read, with a line of warning. Harmless: read as the whole. The rest are faults."""

_SAYS = "scorereg: "
_LONGEST = 1000
_BAR = "%|"  # in each progress bar
_UNUSABLE = ("fitted",)  # wholes of which only the refusal is tested


@dataclass(frozen=True)
class Row:
    """What became of a case."""

    name: str
    kind: str
    verdict: Verdict
    text: str
    seconds: float
    peak: int


@dataclass
class Campaign:
    """Runs cases one after another.

    Args:
        root: An empty folder to work in.
        memory: GiB of address space that a command may add to what the imports take.
        seconds: Limit of what a command computes, and of what it waits.
        check: See that each command takes the whole input, also for cases that are refused.
    """

    root: Path
    memory: float = 2.0
    seconds: float = 40.0
    check: bool = True
    wholes: Wholes = field(init=False)
    _server: subprocess.Popen[str] = field(init=False)
    _plain: dict[tuple[str, ...], tuple[Any, list[str]]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.wholes = Wholes(self.root / "whole", self.command)
        quiet = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        self._server = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.hostile.zygote"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env={**os.environ, **quiet}, cwd=Path(__file__).parents[2],
        )  # fmt: skip

    def close(self) -> None:
        """End the process that forks."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()

    def command(self, words: list[str], folder: Path, out: Path, *, limited: bool = True) -> dict[str, Any]:
        """Run a command line in a folder, and return its code, its texts and what it took."""
        home = out / "home"
        home.mkdir(parents=True, exist_ok=True)
        task = {
            "argv": ["scorereg", *words], "folder": str(folder), "out": str(out), "seconds": self.seconds,
            "memory": self.memory if limited else 32.0,
            "env": {"HOME": str(home), "SCOREREG_CACHE": str(home / "cache"), "TMPDIR": str(home)},
        }  # fmt: skip
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        _send(self._server.stdin, task)
        answer = json.loads(self._server.stdout.readline())
        texts = {name: (out / name).read_bytes().decode(errors="replace") for name in ("stdout", "stderr")}
        return {**answer, **texts}

    def run(self, case: Case) -> Row:
        """Build a case, run its command, judge what it did, and remove it."""
        sandbox = self.root / "case"
        sandbox.mkdir()
        try:
            return self._run(case, sandbox)
        finally:
            remove(sandbox)

    def _run(self, case: Case, sandbox: Path) -> Row:
        place = self._place(case, sandbox)
        with serve(place.input, case.answer) as url:
            case.build(place)
            before = dict(_tree(sandbox))
            done = self.command(_words(case, place, sandbox, url), sandbox, sandbox / "out")
        new = dict(_tree(sandbox))
        moved = sorted(path for path in before.keys() | new.keys() if before.get(path) != new.get(path))
        moved = [path for path in moved if not f"{path}/".startswith("out/") and not _is_run(case, path)]
        names = {case.target or "input", "/etc/passwd", "/dev/zero", *(Path(path).name for path in before)}
        verdict, text = judge(done, names)
        accepted = verdict in ("warned", "harmless")
        plain, said = self._whole(case) if accepted or self.check else (None, [])
        if accepted:
            told = [line for line in _said(done["stderr"]) if line not in said]
            same = result_of(case.command, sandbox, done["stdout"]) == plain
            verdict = "warned" if told else "harmless" if same else "silent"
            text = told[0] if told else text
        if moved:
            verdict, text = "placed outside", ", ".join(moved[:3])
        if place.mark.exists():
            verdict = "code run"
        text = " ".join(text.replace(str(self.root), "").split())
        return Row(case.name, case.kind, verdict, text, done["seconds"], done["peak"])

    def _place(self, case: Case, sandbox: Path) -> Place:
        place = Place(sandbox / "work/input", sandbox / "outside", sandbox / "mark")
        place.input.parent.mkdir()
        place.outside.mkdir()
        if case.base:
            shutil.copytree(self.wholes.of(case.base), place.input)
        else:
            place.input.mkdir()
        return place

    def _whole(self, case: Case) -> tuple[Any, list[str]]:
        """What the command gives for the whole input, and the lines that it says then."""
        key = (case.command, case.base, case.target, *case.options)
        if key not in self._plain:
            if not case.base:
                return None, []
            sandbox = self.root / "plain"
            sandbox.mkdir()
            try:
                place = self._place(case, sandbox)
                with serve(place.input, None) as url:
                    done = self.command(_words(case, place, sandbox, url), sandbox, sandbox / "out")
                if done["code"] and case.base not in _UNUSABLE:
                    raise RuntimeError(f"{case.name}: the whole input is refused, too: {done['stderr'][-500:]}")
                found = result_of(case.command, sandbox, done["stdout"])
                self._plain[key] = found, _said(done["stderr"])
            finally:
                remove(sandbox)
        return self._plain[key]


@contextmanager
def campaign(root: Path, **settings: Any) -> Iterator[Campaign]:
    """A campaign in a folder, whose process ends with the block."""
    made = Campaign(root, **settings)
    try:
        yield made
    finally:
        made.close()


def judge(done: dict[str, Any], names: set[str]) -> tuple[Verdict, str]:
    """Judge a command by how it ended and what it said; `"harmless"` is what ended well and said nothing.

    Args:
        done: Of `Campaign.command`.
        names: Names of the files of the input, one of which a line that refuses has to name.
    """
    stderr = "\n".join(line for line in re.split(r"[\r\n]+", done["stderr"]) if _BAR not in line)
    said, code = _said(stderr), done["code"]
    text = said[-1] if said else stderr[-300:]
    if done["hung"]:
        return "hung", text
    if code < 0:
        return "memory", f"signal {-code}"
    if "there is not enough memory" in text:
        return "memory", text
    if code not in (0, 2) or "Traceback (most recent call last)" in done["stderr"]:
        return "traceback", text
    control = [c for c in stderr + done["stdout"] if not (c.isprintable() or c == "\n")]
    if control:
        return "unclear", f"prints {control[0]!r}: {text}"
    if code == 0:
        return ("warned", text) if said else ("harmless", "")
    named = any(name in text for name in names if len(name) > 1)
    clear = stderr.rstrip("\n").endswith(text) and len(text) <= _LONGEST and named
    return ("one line" if clear else "unclear"), text


def remove(folder: Path) -> None:
    """Remove a folder, whatever rights its parts have."""
    for here, _, _ in os.walk(folder):
        Path(here).chmod(0o700)
    shutil.rmtree(folder)


def _words(case: Case, place: Place, sandbox: Path, url: str) -> list[str]:
    places = {"{in}": str(place.input / case.target), "{out}": str(sandbox / "out/results"), "{url}": url}
    words = list(COMMANDS[case.command])
    for key, value in places.items():
        words = [word.replace(key, value) for word in words]
    return [*words, *(word.replace("{in}", str(place.input)) for word in case.options)]


def _is_run(case: Case, path: str) -> bool:
    """Whether a path is in the folder that the command was told to write to, where that is part of the input."""
    return case.command in RUNS and path.startswith(f"{RUNS[case.command]}/")


def _said(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if line.startswith(_SAYS)]


def _tree(folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Each file of a folder, with what changes if it is written to."""
    for here, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(here) / name
            facts = path.lstat()
            kind = stat.S_IFMT(facts.st_mode)
            size = (0, 0) if stat.S_ISDIR(facts.st_mode) else (facts.st_size, facts.st_mtime_ns)
            yield str(path.relative_to(folder)), (kind, *size)


def _send(stream: IO[str], task: dict[str, Any]) -> None:
    stream.write(json.dumps(task) + "\n")
    stream.flush()
