"""What a hostile case is: a small function that spoils a copy of a whole input, and the command that reads it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["COMMANDS", "Case", "Cases", "Place", "edit_json", "put"]

COMMANDS: dict[str, tuple[str, ...]] = {
    "inspect": ("inspect", "{in}"),
    "export": ("export", "{in}", "--out", "{out}"),
    "sample": ("sample", "{in}", "-n", "1", "--steps", "2", "--out", "{out}/samples.png"),
    "load": ("load_prior", "{in}"),
    "text": ("load_prior", "{in}", "a chair"),
    "fit": (
        "fit", "{in}", "--out", "{out}", "--steps", "1", "--rays", "64", "--regularize", "none", "--video",
        "0", "--backend", "eager",
    ),
    "resume": (
        "fit", "{in}/scene", "--out", "{in}/fit", "--steps", "2", "--rays", "64", "--regularize", "none", "--video",
        "0", "--backend", "eager", "--resume",
    ),
    "prepare": ("prepare", "{in}", "--out", "{out}"),
    "rgb": ("prepare", "{in}", "--out", "{out}", "--channels", "rgb"),
    "train": (
        "train-prior", "{in}", "--out", "{out}", "--steps", "1", "--network", "tiny", "--batch", "2", "--patch", "16",
        "--focal", "40", "55", "--workers", "0",
    ),
    "url": (
        "train-prior", "{url}", "--out", "{out}", "--steps", "1", "--network", "tiny", "--batch", "2", "--patch", "16",
        "--focal", "40", "55", "--workers", "0",
    ),
    "arrays": (
        "train-prior", "{in}", "--out", "{out}", "--steps", "1", "--network", "tiny", "--batch", "2", "--workers", "0",
    ),
    "more": (
        "train-prior", "{in}/data", "--out", "{in}/run", "--steps", "2", "--network", "tiny", "--batch", "2",
        "--workers", "0", "--resume",
    ),
    "poses": ("poses", "{in}", "--out", "{out}"),
    "rays": ("make-rays", "{in}", "--out", "{out}", "-n", "20"),
    "render": ("render", "{in}", "--out", "{out}", "--frames", "1", "--what", "depth", "--no-video"),
    "shots": (
        "render", "{in}", "--cameras", "{in}/mine.json", "--out", "{out}", "--what", "depth", "--no-video", "--size",
        "16",
    ),
    "logged": (
        "fit", "{in}/scene", "--out", "{in}/fit", "--steps", "1", "--rays", "64", "--regularize", "none", "--video",
        "0", "--backend", "eager", "--log", "jsonl", "--log", "tensorboard",
    ),
    "init": (
        "train-prior", "{in}/data", "--out", "{out}", "--steps", "1", "--network", "tiny", "--batch", "2", "--workers",
        "0", "--init", "{in}/init",
    ),
    "points": ("export", "{in}", "--points", "{out}/points.ply", "--count", "100"),
    "eval": ("eval", "{in}"),
    "blocks": ("make-blocks", "{in}", "--out", "{out}", "-n", "20", "--block", "8"),
}  # fmt: skip
"""Command lines by a short name; `load_prior` stands for the function, with a prompt or without."""


@dataclass(frozen=True)
class Place:
    """Where a case happens.

    Args:
        input: What the command is given: a copy of a whole input, which the case spoils, or an empty folder.
        outside: A folder beside it, where nothing may appear or change.
        mark: A file that appears if code of the case runs.
    """

    input: Path
    outside: Path
    mark: Path

    @property
    def shell(self) -> str:
        """A command line that leaves the mark."""
        return f"touch {self.mark}"


@dataclass(frozen=True)
class Case:
    """One hostile input.

    Args:
        name: Its name, unique.
        kind: Group in the table.
        command: A key of `COMMANDS`.
        base: Whole input that it begins with; empty for none.
        build: Spoils the input.
        target: Path below the input folder that the command is given; the folder itself, if empty.
        options: Words that are added to the command line.
        answer: For data behind a URL: what the server sends for a path, in place of the input's file.
    """

    name: str
    kind: str
    command: str
    base: str
    build: Callable[[Place], object]
    target: str = ""
    options: tuple[str, ...] = ()
    answer: Callable[[Any, str], bool] | None = None


class Cases(list[Case]):
    """The cases of one kind; `add` is a decorator of the function that spoils the input, whose name is the case's.

    Args:
        kind: Group in the table.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def add(self, command: str, base: str = "", target: str = "", **more: Any) -> Callable[[Any], Any]:
        """Return a decorator that adds a case."""

        def register(build: Callable[[Place], object]) -> Callable[[Place], object]:
            self.append(
                Case(build.__name__.strip("_").replace("_", " "), self.kind, command, base, build, target, **more)
            )
            return build

        return register

    def each(
        self, command: str, base: str, table: dict[str, Any], spoil: Callable[[Place, Any], object], **more: Any
    ) -> None:
        """Add a case for each entry of a table: its name, and what `spoil` is given beside the place."""
        for name, value in table.items():
            self.append(Case(name, self.kind, command, base, lambda place, value=value: spoil(place, value), **more))


def edit_json(path: Path, change: Callable[[Any], Any]) -> None:
    """Change a JSON file; `change` changes what it is given, or returns what takes its place."""
    table = json.loads(path.read_text(encoding="utf-8"))
    new = change(table)
    path.write_text(json.dumps(table if new is None else new), encoding="utf-8")


def put(path: Path, data: bytes | str) -> Path:
    """Write a file, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path
