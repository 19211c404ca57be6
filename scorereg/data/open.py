"""Open training data of whichever kind: frames, shards, arrays, images, or several mixed."""

import dataclasses
from functools import partial
from pathlib import Path

from scorereg.data.arrays.source import ARRAYS_FILE, open_arrays
from scorereg.data.bad_frames import ReadOptions
from scorereg.data.frames.load import frames_of, pyramids_of_frames
from scorereg.data.frames.pyramid import Pyramid
from scorereg.data.frames.source import open_frames
from scorereg.data.mixed import mixed
from scorereg.data.shards.load import check_manifest, pyramid_of_shards
from scorereg.data.shards.manifest import Manifest, has_shards
from scorereg.data.shards.remote import Location
from scorereg.data.shards.source import open_shards
from scorereg.data.source import Source
from scorereg.training.settings import Settings

__all__ = ["measured_set", "open_source"]


def measured_set(where: Path, settings: Settings, reading: ReadOptions) -> Pyramid:
    """Read all frames of a folder, or held-out ones of shards, reduced as a run's settings say.

    Raises:
        OSError: If a file cannot be read or fetched.
        ValueError: If they are not usable, or more than 1 % are bad.
    """
    if has_shards(where):
        place = Location(where)
        manifest = Manifest.read(place)
        check_manifest(place, manifest, settings)
        return pyramid_of_shards(place, manifest, "val", settings)
    settings = dataclasses.replace(settings, depth_factor=1.0)  # which is the training data's
    frames, faults = frames_of([where], settings, reading)
    return pyramids_of_frames({"all": frames}, settings, faults)["all"]


def open_source(
    data: list[Path], settings: Settings, evaluate: list[Path] | None = None, reading: ReadOptions | None = None
) -> Source:
    """Read the data of a run, of whichever kind they are, or of several.

    Args:
        data: Folders or URLs of shards (`manifest.json`), folders of arrays (`arrays.json`), folders of frames.
        settings: The run's.
        evaluate: More to measure on only: arrays beside arrays, else shards or folders of frames.
        reading: How folders of frames are read.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If the data are not usable, or cannot be mixed.
    """
    kinds = ["shards" if has_shards(d) else "arrays" if (d / ARRAYS_FILE).is_file() else "frames" for d in data]
    raw = [folder for folder, kind in zip(data, kinds, strict=True) if kind == "frames"]
    if settings.depth_factor != 1 and not raw:
        raise ValueError("--depth-factor is for folders of frames; shards and arrays are in metres. Leave it out.")
    reading, parts, counts = reading or ReadOptions(), list[Source](), list[int]()
    others = {path.resolve().name: partial(measured_set, path, settings, reading) for path in evaluate or []}
    for folder, kind in zip(data, kinds, strict=True):
        if kind == "shards":
            shards = open_shards(folder, settings, {} if parts else others)
            parts.append(shards)
            counts.append(sum(shard.frames for shard in shards.manifest.of("train")))
        elif kind == "arrays":
            arrays = open_arrays(folder, [] if parts else evaluate or [])
            parts.append(arrays)
            counts.append(len(arrays.sets["train"]))
    if raw:
        frames = open_frames(raw, settings, reading, {} if parts else others)
        parts.append(frames)
        counts.append(frames.count)
    return mixed(parts, counts)
