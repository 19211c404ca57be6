"""Patches of frames in memory as the source of a run."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from scorereg.data.bad_frames import BadFrames, ReadOptions
from scorereg.data.channels import CHANNELS
from scorereg.data.frames.augment import augmented, plain_patches
from scorereg.data.frames.discover import find_frames
from scorereg.data.frames.load import load_pyramids
from scorereg.data.frames.pyramid import Pyramid
from scorereg.data.frames.split import split_scenes
from scorereg.data.patch_spec import PatchSpec
from scorereg.data.source import SourceInfo, seeded

__all__ = ["FrameSource", "frames_info", "open_frames"]

_KINDS = {CHANNELS["rgbd"]: "RGB-D ", CHANNELS["rgb"]: "RGB ", CHANNELS["d"]: "depth "}


@dataclass(frozen=True)
class FrameSource:
    """Random patches of frames: level, position, mirror image, depth scale and colour vary.

    Args:
        about: Description of the data.
        sets: Frames by the name of their set: `"train"`, and the sets to measure on.
        spec: Patches and their augmentation.
        count: Number of frames to train on.
    """

    about: SourceInfo
    sets: dict[str, Pyramid]
    spec: PatchSpec
    count: int = 1

    @property
    def measured(self) -> tuple[str, ...]:
        return tuple(name for name in self.sets if name != "train")

    def batch(self, count: int, *, seed: int, step: int, slot: int) -> tuple[Tensor, Tensor]:
        generator = seeded(seed, step, slot)
        return augmented(self.sets["train"].crop(count, self.spec.patch_size, generator), generator, self.spec)

    def plain(self, name: str, count: int, *, seed: int) -> tuple[Tensor, Tensor]:
        return plain_patches(self.sets[name], count, self.spec, torch.Generator().manual_seed(seed))


def open_frames(
    data: list[Path],
    spec: PatchSpec,
    reading: ReadOptions,
    others: dict[str, Callable[[], Pyramid]] | None = None,
    *,
    most: int | None = None,
) -> FrameSource:
    """Read folders of frames; one scene in sixteen is held out.

    Args:
        data: The folders.
        spec: Patches; without focal lengths, frames are reduced to the shortest of any.
        reading: Which frames may be left out.
        others: Loaders of further sets to measure on, by name.
        most: Most frames to train on, evenly spaced among all; all, if not given.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If the frames are not usable, or more than 1 % are bad.
    """
    bad = BadFrames(reading)
    frames = find_frames(data, channels=spec.names, depth_factor=spec.depth_factor, bad=bad)
    train, held, names = split_scenes(frames)
    train = train[:: -(-len(train) // most)] if most else train
    spec = spec.with_focal(min((min(frame.focal) for frame in frames if frame.focal), default=1.0))
    sets = load_pyramids({"train": train, "held-out": held}, spec, bad)
    sets |= {name: load() for name, load in (others or {}).items()}
    scenes = {frame.scene for frame in train}
    folders = ", ".join(sorted({scene.split("/")[0] for scene in scenes}))
    words = f"{len(train)} {_KINDS.get(spec.names, '')}frames of {len(scenes)} scenes ({folders})"
    if bad.messages:
        words += f"; {len(bad.messages)} bad frames were left out"
    about = frames_info(spec, words, names)
    if any(frame.focal is None for frame in frames):
        about = dataclasses.replace(about, focal=None)
    return FrameSource(about, sets, spec, len(train))


def frames_info(spec: PatchSpec, data: str, held_out: tuple[str, ...]) -> SourceInfo:
    """Return the description of patches of frames.

    Args:
        spec: The patches.
        data: The frames in words.
        held_out: Names of the scenes that are held out.
    """
    depth = "disparity" in spec.names
    return SourceInfo(
        channels=spec.names,
        size=(spec.patch_size, spec.patch_size),
        data=data,
        depth="planar" if depth else None,
        d_min=spec.d_min if depth else None,
        focal=spec.focal,
        held_out=held_out,
    )
