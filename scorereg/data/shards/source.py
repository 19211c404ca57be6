"""Patches out of shards, more of them than memory holds, as the source of a run.

A run sees shards in an order that is shuffled anew for every epoch. At any step some of them are in memory: `LANES`
lanes take turns, step by step, and each holds the frames of `HELD` shards, of which patches are drawn with equal
chance. After as many turns as it takes to draw `REUSE` patches of each frame, a lane drops its older shard and takes
the next one. Each time a shard is taken, its frames are reduced to focal lengths that are drawn anew.

All of this is computed from (seed, step, slot), so a run can be resumed at any step. Lanes are what worker processes
have in common: with 2, 4 or 8 of them each meets its own lanes only, and decodes its own share of the shards.
"""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from scorereg.data.channels import channel_names
from scorereg.data.frames.augment import augmented, to_prior_space
from scorereg.data.frames.build import PyramidBuilder
from scorereg.data.frames.pyramid import Pyramid
from scorereg.data.shards.load import check_manifest, maps_in_shards, pyramid_of_shards
from scorereg.data.shards.manifest import Manifest, Shard, read_shard
from scorereg.data.shards.remote import Location
from scorereg.data.source import SourceInfo, seeded
from scorereg.training.settings import Settings

__all__ = ["HELD", "LANES", "REUSE", "ShardSource", "open_shards"]

LANES = 8
HELD = 2
REUSE = 32  # patches of each frame while its shard is in memory


@dataclass
class ShardSource:
    """Random patches of the frames in shards.

    Args:
        about: What is on the card.
        place: Where the shards are.
        manifest: What is in them.
        settings: The run's: `patch`, `channels`, `focal`, `d_min`, `depth_range`, `grain` and `sharpen` are used.
        others: Loaders of further sets to measure on, by name.
    """

    about: SourceInfo
    place: Location
    manifest: Manifest
    settings: Settings
    others: dict[str, Callable[[], Pyramid]] = field(default_factory=dict)
    _pools: dict[int, tuple[int, Pyramid]] = field(default_factory=dict, init=False, repr=False)
    _parts: dict[int, "Future[Pyramid]"] = field(default_factory=dict, init=False, repr=False)
    _plain: dict[str, Pyramid] = field(default_factory=dict, init=False, repr=False)
    _ahead: tuple[int, ThreadPoolExecutor] | None = field(default=None, init=False, repr=False)

    @property
    def measured(self) -> tuple[str, ...]:
        """Names of the sets to be measured on."""
        return ("held-out", *self.others)

    def batch(self, count: int, *, seed: int, step: int, slot: int) -> tuple[Tensor, Tensor]:
        """Return augmented patches in prior space, and weights that are 0 where a value is unknown."""
        lanes = max(min(LANES, len(self._train) // HELD), 1)
        lane, turn = (step + slot) % lanes, step // lanes
        held = sum(shard.frames for shard in self._train) // len(self._train)
        stay = max(-(-REUSE * held // count), 1)
        pool = self._pool(lane, lanes, turn // stay, seed)
        generator = seeded(seed, step, slot)
        crops = pool.crop(count, self.settings.patch, generator)
        how = self.settings
        return augmented(
            crops, generator, channels=how.channels, depth_range=how.depth_range, grain=how.grain, sharpen=how.sharpen
        )

    def plain(self, name: str, count: int, *, seed: int) -> tuple[Tensor, Tensor]:
        """Return patches as they are, without jitter or change of depth scale."""
        if name not in self._plain:
            self._plain[name] = self._measured_on(name)
        crops = self._plain[name].crop(count, self.settings.patch, seeded(seed), flip=False)
        return to_prior_space(crops, self.settings.channels)

    def __getstate__(self) -> dict[str, object]:
        kept = {name: value for name, value in self.__dict__.items() if not name.startswith("_")}
        return {**kept, "_pools": {}, "_parts": {}, "_plain": {}, "_ahead": None}

    @property
    def _train(self) -> tuple[Shard, ...]:
        return self.manifest.of("train")

    def _pool(self, lane: int, lanes: int, window: int, seed: int) -> Pyramid:
        """The frames that a lane holds."""
        if self._pools.get(lane, (-1, None))[0] != window:
            numbers = [(window + i) * lanes + lane for i in range(HELD)]
            parts = [self._part(number, seed).result() for number in numbers]
            self._pools[lane] = window, Pyramid.joined(parts)
            self._part(numbers[-1] + lanes, seed)  # begun now, to be there in time
            for number in [n for n in self._parts if n % lanes == lane and n < numbers[1]]:
                del self._parts[number]
        return self._pools[lane][1]

    def _part(self, number: int, seed: int) -> "Future[Pyramid]":
        """The frames of the shard that is the `number`-th to be taken, in the making."""
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
        builder = self._builder()
        low, high = self.settings.focal
        for frame, planes in read_shard(
            self.place, self.manifest, self._train[int(order[place])], maps_in_shards(self._channels)
        ):
            top = max(min(high, *(frame.focal or (high,))), low)
            share = float(torch.rand((), generator=generator))
            builder.add(frame, planes, goals=[low ** (1 - share) * top**share])
        return builder.build()

    def _measured_on(self, name: str) -> Pyramid:
        if name in self.others:
            return self.others[name]()
        return pyramid_of_shards(self.place, self.manifest, "train" if name == "train" else "val", self.settings)

    @property
    def _channels(self) -> tuple[str, ...]:
        return channel_names(self.settings.channels)

    def _builder(self) -> PyramidBuilder:
        settings = self.settings
        return PyramidBuilder(size=settings.patch, focal=settings.focal, d_min=settings.d_min, channels=self._channels)


def open_shards(
    where: str | Path, settings: Settings, others: dict[str, Callable[[], Pyramid]] | None = None
) -> ShardSource:
    """Read the manifest of some shards, and see that a run can use them; `others` are more sets to measure on.

    Raises:
        OSError: If it cannot be read or fetched.
        ValueError: If the shards do not hold what the run asks for.
    """
    place = Location(where)
    manifest = Manifest.read(place)
    names = channel_names(settings.channels)
    check_manifest(place, manifest, settings)
    scenes = manifest.scenes["train"]
    frames = sum(shard.frames for shard in manifest.of("train"))
    about = SourceInfo(
        channels=names,
        size=(settings.patch, settings.patch),
        data=f"{frames} frames of {len(scenes)} scenes ({manifest.name})",
        depth="planar" if "disparity" in names else None,
        d_min=settings.d_min if "disparity" in names else None,
        focal=settings.focal,
        held_out=manifest.scenes["val"],
        licence=manifest.licence,
        credits=manifest.credits,
    )
    return ShardSource(about, place, manifest, settings, others or {})
