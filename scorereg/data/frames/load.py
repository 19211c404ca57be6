"""Frames in memory of whatever a run is given to read or to measure on: folders of frames, or shards."""

import dataclasses
import warnings
from pathlib import Path

from scorereg.data.bad_frames import BadFrames, ReadOptions
from scorereg.data.channels import channel_names
from scorereg.data.frames.build import load_pyramid
from scorereg.data.frames.discover import find_frames
from scorereg.data.frames.frame import Frame
from scorereg.data.frames.pyramid import Pyramid
from scorereg.training.settings import Settings

__all__ = ["frames_of", "pyramids_of_frames"]


def frames_of(data: list[Path], settings: Settings, reading: ReadOptions) -> tuple[list[Frame], BadFrames]:
    """Find the frames of a run; those that lack a file are among the faults.

    Raises:
        OSError: If a path or a file is not there.
        ValueError: If a folder holds no frames with the channels of the run.
    """
    faults = BadFrames(skip=reading.skip_bad)
    frames = find_frames(data, channels=channel_names(settings.channels), faults=faults, exclude=reading.exclude)
    return [dataclasses.replace(frame, unit=frame.unit * settings.depth_factor) for frame in frames], faults


def pyramids_of_frames(parts: dict[str, list[Frame]], settings: Settings, faults: BadFrames) -> dict[str, Pyramid]:
    """Read the frames of some sets; name all that were left out, in a warning each.

    Args:
        parts: The sets by name.
        settings: The run's.
        faults: What `frames_of` found.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If frames are not usable, or more than 1 % are bad.
    """
    total = sum(len(part) for part in parts.values()) + len(faults.bad)
    channels = channel_names(settings.channels)
    how = {"size": settings.patch, "focal": settings.focal, "d_min": settings.d_min, "channels": channels}
    sets = {name: load_pyramid(part, **how, faults=faults) for name, part in parts.items()}
    faults.check(total)
    for line in (*faults.left_out, *faults.bad):
        warnings.warn(f"left out: {line}", stacklevel=3)
    if faults.bad:
        warnings.warn(f"{len(faults.bad)} of {total} frames were left out.", stacklevel=3)
    return sets
