"""Frames in memory of whatever a run is given to read or to measure on: folders of frames, or shards."""

import dataclasses
import warnings
from itertools import islice
from pathlib import Path

from scorereg.data.bad_frames import Faults, Reading
from scorereg.data.frames.augment import channel_names
from scorereg.data.frames.build import PyramidBuilder, load_pyramid
from scorereg.data.frames.discover import find_frames
from scorereg.data.frames.frame import DEPTH, Frame, maps_of
from scorereg.data.frames.pyramid import Pyramid
from scorereg.data.shards.manifest import Manifest, has_shards, read_shard
from scorereg.data.shards.remote import Place
from scorereg.training.settings import Settings

__all__ = [
    "MEASURED",
    "check_manifest",
    "frames_of",
    "maps_in_shards",
    "measured_set",
    "pyramid_of_shards",
    "pyramids_of_frames",
]

MEASURED = 512  # frames of shards to measure on, or to fit the linear filter to


def measured_set(where: Path, settings: Settings, reading: Reading) -> Pyramid:
    """Read all frames of a folder, or held-out ones of shards, reduced as a run's settings say.

    Raises:
        OSError: If a file cannot be read or fetched.
        ValueError: If they are not usable, or more than 1 % are bad.
    """
    if has_shards(where):
        place = Place(where)
        manifest = Manifest.read(place)
        check_manifest(place, manifest, settings)
        return pyramid_of_shards(place, manifest, "val", settings)
    settings = dataclasses.replace(settings, depth_factor=1.0)  # which is the training data's
    frames, faults = frames_of([where], settings, reading)
    return pyramids_of_frames({"all": frames}, settings, faults)["all"]


def frames_of(data: list[Path], settings: Settings, reading: Reading) -> tuple[list[Frame], Faults]:
    """Find the frames of a run; those that lack a file are among the faults.

    Raises:
        OSError: If a path or a file is not there.
        ValueError: If a folder holds no frames with the channels of the run.
    """
    faults = Faults(skip=reading.skip_bad)
    frames = find_frames(data, channels=channel_names(settings.channels), faults=faults, exclude=reading.exclude)
    return [dataclasses.replace(frame, unit=frame.unit * settings.depth_factor) for frame in frames], faults


def pyramids_of_frames(parts: dict[str, list[Frame]], settings: Settings, faults: Faults) -> dict[str, Pyramid]:
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


def pyramid_of_shards(place: Place, manifest: Manifest, split: str, settings: Settings) -> Pyramid:
    """Read some frames of each shard of a split, at most `MEASURED` or one a shard.

    Raises:
        OSError: If a shard cannot be read or fetched.
    """
    channels = channel_names(settings.channels)
    builder = PyramidBuilder(size=settings.patch, focal=settings.focal, d_min=settings.d_min, channels=channels)
    shards = manifest.of(split)
    each = -(-MEASURED // len(shards))
    for shard in shards:
        for frame, planes in islice(read_shard(place, manifest, shard, maps_in_shards(channels)), each):
            builder.add(frame, planes)
    return builder.build()


def maps_in_shards(channels: tuple[str, ...]) -> tuple[str, ...]:
    """Return the maps that some channels need of a shard, whose normals may have to be made of its depth."""
    maps = maps_of(channels)
    return (*maps, DEPTH) if "normal" in maps and DEPTH not in maps else maps


def check_manifest(place: Place, manifest: Manifest, settings: Settings) -> None:
    """See that a run can use some shards.

    Raises:
        ValueError: If they do not hold what the run asks for.
    """
    names = channel_names(settings.channels)
    missing = [name for name in names if name not in manifest.channels]
    if missing:
        raise ValueError(
            f"{place} holds {', '.join(manifest.channels)}, but not {', '.join(missing)}. Prepare the data again with "
            f"--channels {','.join(names)}."
        )
    if "disparity" in names and settings.d_min < manifest.d_min:
        raise ValueError(
            f"{place} keeps depth for d_min from {manifest.d_min:g} m on, but the run's is {settings.d_min:g}. Prepare "
            f"the data again with --d-min {settings.d_min:g}, or train with a larger one."
        )
    if settings.focal[0] > manifest.focal * 1.001:
        raise ValueError(
            f"{place} has focal lengths up to {manifest.focal:g} pixels, but the run wants {settings.focal[0]:g} or "
            f"more. Prepare the data again with --focal {settings.focal[1]:g}."
        )
