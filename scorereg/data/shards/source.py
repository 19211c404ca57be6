"""Patches of frames in shards, which together may be larger than memory, as the source of a run.

A run takes the shards in an order that is shuffled for every epoch. At any step a few of them are in memory: `LANES`
lanes take turns, step by step, and each holds the frames of `HELD` shards, from which patches are drawn with equal
probability. After as many turns as it takes to draw `REUSE` patches of each frame, a lane drops its older shard and
takes the next one. Each time a shard is taken, its frames are reduced to new random focal lengths.

Everything is computed from (seed, step, slot), so a run can be resumed at any step. With 2, 4 or 8 worker processes
each worker meets its own lanes only, and decodes its own share of the shards.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from scorereg._progress import steps
from scorereg.data.channels import DEPTH, maps_of
from scorereg.data.frames.augment import augmented, plain_patches
from scorereg.data.frames.build import PyramidBuilder
from scorereg.data.frames.frame import Frame, Planes
from scorereg.data.frames.pyramid import Pyramid
from scorereg.data.frames.source import FrameSource, frames_info
from scorereg.data.patch_spec import PatchSpec
from scorereg.data.shards.manifest import Manifest, Shard, read_shard
from scorereg.data.shards.remote import Location
from scorereg.data.source import SourceInfo, seeded

__all__ = ["HELD", "LANES", "REUSE", "ShardSource", "open_shards"]

LANES = 8
HELD = 2
REUSE = 32  # patches of each frame while its shard is in memory
_MOST_FRAMES = 512  # to measure on, or to fit the linear filter to


@dataclass
class ShardSource:
    """Random patches of the frames in shards.

    Args:
        about: Description of the data.
        location: Where the shards are.
        manifest: Their manifest.
        spec: Patches and their augmentation.
        others: Loaders of further sets to measure on, by name.
    """

    about: SourceInfo
    location: Location
    manifest: Manifest
    spec: PatchSpec
    others: dict[str, Callable[[], Pyramid]] = field(default_factory=dict)
    _pools: dict[int, tuple[int, Pyramid]] = field(default_factory=dict, init=False, repr=False)
    _parts: dict[int, "Future[Pyramid]"] = field(default_factory=dict, init=False, repr=False)
    _plain: dict[str, Pyramid] = field(default_factory=dict, init=False, repr=False)
    _ahead: tuple[int, ThreadPoolExecutor] | None = field(default=None, init=False, repr=False)

    @property
    def measured(self) -> tuple[str, ...]:
        return ("held-out", *self.others)

    def batch(self, count: int, *, seed: int, step: int, slot: int) -> tuple[Tensor, Tensor]:
        lanes = max(min(LANES, len(self._train) // HELD), 1)
        lane, turn = (step + slot) % lanes, step // lanes
        held = sum(shard.frames for shard in self._train) // len(self._train)
        stay = max(-(-REUSE * held // count), 1)
        pool = self._pool(lane, lanes, turn // stay, seed)
        generator = seeded(seed, step, slot)
        return augmented(pool.crop(count, self.spec.patch_size, generator), generator, self.spec)

    def plain(self, name: str, count: int, *, seed: int) -> tuple[Tensor, Tensor]:
        if name not in self._plain:
            other = self.others.get(name)
            self._plain[name] = other() if other else self.frames("train" if name == "train" else "val")
        return plain_patches(self._plain[name], count, self.spec, seeded(seed))

    def frames(self, split: str) -> Pyramid:
        """Read the first frames of each shard of a split, at most 512 in all or one of each shard.

        Raises:
            OSError: If a shard cannot be read or fetched.
        """
        builder, shards = PyramidBuilder(self.spec), self.manifest.of(split)
        each = -(-_MOST_FRAMES // len(shards))
        for shard in steps(f"reading shards of {split}", shards):
            for frame, planes in islice(self._read(shard), each):
                builder.add(frame, planes)
        return builder.build()

    def in_memory(self) -> FrameSource:
        """Return some frames of each split as a source in memory, to measure on."""
        sets = {"train": self.frames("train"), "held-out": self.frames("val")}
        return FrameSource(self.about, sets, self.spec)

    def __getstate__(self) -> dict[str, object]:
        kept = {name: value for name, value in self.__dict__.items() if not name.startswith("_")}
        return {**kept, "_pools": {}, "_parts": {}, "_plain": {}, "_ahead": None}

    @property
    def _train(self) -> tuple[Shard, ...]:
        return self.manifest.of("train")

    def _pool(self, lane: int, lanes: int, window: int, seed: int) -> Pyramid:
        """Return the frames that a lane holds, and start to load the next shard."""
        if self._pools.get(lane, (-1, None))[0] != window:
            numbers = [(window + i) * lanes + lane for i in range(HELD)]
            parts = [self._part(number, seed).result() for number in numbers]
            self._pools[lane] = window, Pyramid.joined(parts)
            self._part(numbers[-1] + lanes, seed)
            for number in [n for n in self._parts if n % lanes == lane and n < numbers[1]]:
                del self._parts[number]
        return self._pools[lane][1]

    def _part(self, number: int, seed: int) -> "Future[Pyramid]":
        """Return the frames of the `number`-th shard that is taken, loaded by a thread."""
        if self._ahead is None or self._ahead[0] != os.getpid():  # threads do not survive a fork
            self._ahead = os.getpid(), ThreadPoolExecutor(1)
            self._parts.clear()
        if number not in self._parts:
            self._parts[number] = self._ahead[1].submit(self._load, number, seed)
        return self._parts[number]

    def _load(self, number: int, seed: int) -> Pyramid:
        epoch, place = divmod(number, len(self._train))
        order = torch.randperm(len(self._train), generator=seeded(seed, epoch, 2))
        generator = seeded(seed, number, 3)
        builder = PyramidBuilder(self.spec)
        low, high = builder.focal
        for frame, planes in self._read(self._train[int(order[place])]):
            top = max(min(high, *(frame.focal or (high,))), low)
            share = float(torch.rand((), generator=generator))
            builder.add(frame, planes, goals=[low ** (1 - share) * top**share])
        return builder.build()

    def _read(self, shard: Shard) -> Iterator[tuple[Frame, Planes]]:
        maps = maps_of(self.spec.names)
        if "normal" in maps and DEPTH not in maps:
            maps = (*maps, DEPTH)  # normals that are not stored are computed from depth
        return read_shard(self.location, self.manifest, shard, maps)


def open_shards(
    where: str | Path, spec: PatchSpec, others: dict[str, Callable[[], Pyramid]] | None = None
) -> ShardSource:
    """Read the manifest of some shards, and check that a run can use them.

    Args:
        where: Folder or URL of the shards.
        spec: Patches; without focal lengths, frames are reduced to the shards' longest.
        others: Loaders of further sets to measure on, by name.

    Raises:
        OSError: If the manifest cannot be read or fetched.
        ValueError: If the shards lack channels, small depth or focal lengths of the spec.
    """
    location = Location(where)
    manifest = Manifest.read(location)
    spec = spec.with_focal(manifest.focal)
    _check(location, manifest, spec)
    scenes = manifest.scenes["train"]
    frames = sum(shard.frames for shard in manifest.of("train"))
    words = f"{frames} frames of {len(scenes)} scenes ({manifest.name})"
    about = frames_info(spec, words, manifest.scenes["val"])
    about = replace(about, licence=manifest.licence, credits=manifest.credits)
    return ShardSource(about, location, manifest, spec, others or {})


def _check(location: Location, manifest: Manifest, spec: PatchSpec) -> None:
    for split in ("train", "val"):
        if not sum(shard.frames for shard in manifest.of(split)):
            raise ValueError(f"{location} has no frames of {split} in its manifest.json. Prepare the data again.")
    missing = [name for name in spec.names if name not in manifest.channels]
    if missing:
        raise ValueError(
            f"{location} holds {', '.join(manifest.channels)}, but not {', '.join(missing)}. Prepare the data again "
            f"with --channels {','.join(spec.names)}."
        )
    if "disparity" in spec.names and spec.d_min < manifest.d_min:
        raise ValueError(
            f"{location} keeps depth for d_min from {manifest.d_min:g} m on, but the run's is {spec.d_min:g}. Prepare "
            f"the data again with --d-min {spec.d_min:g}, or train with a larger one."
        )
    if spec.focal and spec.focal[0] > manifest.focal * 1.001:
        raise ValueError(
            f"{location} has focal lengths up to {manifest.focal:g} pixels, but the run wants {spec.focal[0]:g} or "
            f"more. Prepare the data again with --focal {spec.focal[1]:g}."
        )
