"""Which frames go into which shard: by the data and the settings alone."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scorereg.data.bad_frames import ReadOptions
from scorereg.data.frames.frame import Frame
from scorereg.data.frames.split import split_scenes

__all__ = ["Job", "jobs_of", "splits_of"]


@dataclass(frozen=True)
class Job:
    """A shard to be written; `first` is the number of its first frame among all, `focal` in pixels, depth in 1/m."""

    path: Path
    split: str
    first: int
    frames: tuple[Frame, ...]
    channels: tuple[str, ...]
    focal: float
    inverse_max: float
    reading: ReadOptions

    @property
    def plan(self) -> str:
        """A key that changes with everything that the content of the shard depends on."""
        facts = (self.first, self.frames, self.channels, self.focal, self.inverse_max)
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


def splits_of(frames: list[Frame]) -> dict[str, list[Frame]]:
    """Return the frames to train on, those held out, and those of test scenes, by the name of the split."""
    train, held, _ = split_scenes(frames)
    test = [frame for frame in frames if frame.split == "test"]
    return {name: part for name, part in (("train", train), ("val", held), ("test", test)) if part}


def jobs_of(splits: dict[str, list[Frame]], out: Path, shard_frames: int, **common: Any) -> list[Job]:
    """Return the shards to be written: the frames of each split, shuffled, in parts of almost equal size."""
    jobs, first = [], 0
    for split, part in splits.items():
        order = np.random.default_rng(0).permutation(len(part))
        for number, chosen in enumerate(np.array_split(order, -(-len(part) // shard_frames))):
            path = out / f"{split}-{number:05d}.tar"
            mixed = tuple(part[i] for i in chosen)
            jobs.append(Job(path, split, first, mixed, **common))
            first += len(mixed)
    return jobs
