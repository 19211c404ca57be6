"""Patches of frames in memory as the source of a run."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from scorereg.data.bad_frames import ReadOptions
from scorereg.data.channels import channel_names
from scorereg.data.frames.augment import augmented, to_prior_space
from scorereg.data.frames.load import frames_of, pyramids_of_frames
from scorereg.data.frames.pyramid import Pyramid
from scorereg.data.frames.split import split_scenes
from scorereg.data.source import SourceInfo, seeded
from scorereg.training.settings import Settings

__all__ = ["FrameSource", "about_frames", "open_frames", "plain_patches"]


@dataclass(frozen=True)
class FrameSource:
    """Random patches of RGB-D frames: level, position, mirror image, depth scale and colour vary.

    Args:
        about: What is on the card.
        sets: Frames by name: `"train"`, and what is measured on.
        settings: The run's: `patch`, `channels`, `depth_range`, `grain` and `sharpen` are used.
        count: Frames to train on.
    """

    about: SourceInfo
    sets: dict[str, Pyramid]
    settings: Settings
    count: int = 1

    @property
    def measured(self) -> tuple[str, ...]:
        """Names of the sets to be measured on."""
        return tuple(name for name in self.sets if name != "train")

    def batch(self, count: int, *, seed: int, step: int, slot: int) -> tuple[Tensor, Tensor]:
        """Return augmented patches in prior space, and weights that are 0 where a value is unknown."""
        generator, how = seeded(seed, step, slot), self.settings
        crops = self.sets["train"].crop(count, how.patch, generator)
        return augmented(
            crops, generator, channels=how.channels, depth_range=how.depth_range, grain=how.grain, sharpen=how.sharpen
        )

    def plain(self, name: str, count: int, *, seed: int) -> tuple[Tensor, Tensor]:
        """Return patches without jitter or change of depth scale."""
        how = self.settings
        return plain_patches(self.sets[name], count, size=how.patch, channels=how.channels, seed=seed)


def plain_patches(
    pyramid: Pyramid, count: int, *, size: int, channels: str | tuple[str, ...], seed: int
) -> tuple[Tensor, Tensor]:
    """Return patches in prior space without jitter or change of depth scale, and weights, 0 where unknown."""
    return to_prior_space(pyramid.crop(count, size, torch.Generator().manual_seed(seed), flip=False), channels)


def open_frames(
    data: list[Path], settings: Settings, reading: ReadOptions, others: dict[str, Callable[[], Pyramid]]
) -> FrameSource:
    """Read the frames of a run, one scene in sixteen being held out; `others` are more sets to measure on, by name.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If the frames are not usable, or more than 1 % are bad.
    """
    frames, faults = frames_of(data, settings, reading)
    train, held, names = split_scenes(frames)
    sets = pyramids_of_frames({"train": train, "held-out": held}, settings, faults)
    sets |= {name: load() for name, load in others.items()}
    scenes = {frame.scene for frame in train}
    folders = ", ".join(sorted({scene.split("/")[0] for scene in scenes}))
    kind = {"rgbd": "RGB-D ", "rgb": "RGB ", "d": "depth "}.get(settings.channels, "")
    words = f"{len(train)} {kind}frames of {len(scenes)} scenes ({folders})"
    if faults.bad:
        words += f"; {len(faults.bad)} bad frames were left out"
    about = about_frames(settings, words, names)
    if any(frame.focal is None for frame in frames):
        about = dataclasses.replace(about, focal=None)
    return FrameSource(about, sets, settings, len(train))


def about_frames(settings: Settings, data: str, held_out: tuple[str, ...]) -> SourceInfo:
    """Return what patches of frames put on a card.

    Args:
        settings: The run's.
        data: The frames in words.
        held_out: Scenes that were kept out of training.
    """
    channels = channel_names(settings.channels)
    depth = "disparity" in channels
    return SourceInfo(
        channels=channels,
        size=(settings.patch, settings.patch),
        data=data,
        depth="planar" if depth else None,
        d_min=settings.d_min if depth else None,
        focal=settings.focal,
        held_out=held_out,
    )
