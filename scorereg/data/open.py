"""Open training data of any kind: folders of frames, of images or of arrays, shards behind a path or URL, or a mix."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Literal

from scorereg.data.arrays.source import ARRAYS_FILE, open_arrays
from scorereg.data.bad_frames import BadFrames, ReadOptions
from scorereg.data.frames.discover import find_frames, rgbd_folders
from scorereg.data.frames.images import open_images
from scorereg.data.frames.load import load_pyramids
from scorereg.data.frames.pyramid import Pyramid
from scorereg.data.frames.source import open_frames
from scorereg.data.mixed import mixed
from scorereg.data.patch_spec import PatchSpec
from scorereg.data.shards.manifest import has_shards
from scorereg.data.shards.source import open_shards
from scorereg.data.source import Source
from scorereg.files.names import real_path

__all__ = ["kind_of", "open_source"]

_MOST_FRAMES = 256  # to measure on; more take minutes to read and change no result


def kind_of(where: Path) -> Literal["shards", "arrays", "frames"]:
    """Return what lies at a path or URL: `manifest.json` marks shards, `arrays.json` arrays, all else are frames."""
    return "shards" if has_shards(where) else "arrays" if (where / ARRAYS_FILE).is_file() else "frames"


def open_source(
    data: list[Path],
    spec: PatchSpec,
    evaluate: list[Path] | None = None,
    reading: ReadOptions | None = None,
    *,
    to_measure: bool = False,
) -> Source:
    """Open the data of a run, of any kind or of several.

    A folder of frames has one of the layouts of `find_frames` at or below it; a folder of plain images will do for
    colour alone.

    Args:
        data: Folders or URLs of shards (`manifest.json`), folders of arrays (`arrays.json`), of frames or of images.
        spec: Patches to cut out of frames; arrays have a size and channels of their own.
        evaluate: Further data to measure on only: arrays beside arrays, else shards or folders of frames.
        reading: Which frames may be left out; none, if not given.
        to_measure: Open data of which only `Source.plain` is used. At most 256 training frames are read, and plain
            images are cut at their own resolution, the last quarter of them held out.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If the data are not usable, or differ in kind so that they cannot be mixed.
    """
    reading, evaluate = reading or ReadOptions(), evaluate or []
    kinds = [kind_of(where) for where in data]
    folders = [where for where, kind in zip(data, kinds, strict=True) if kind == "frames"]
    if spec.depth_factor != 1 and not folders:
        raise ValueError("--depth-factor is for folders of frames; shards and arrays are in metres. Leave it out.")
    others = {real_path(path).name: partial(_measured_set, path, spec, reading) for path in evaluate}
    parts, counts = list[Source](), list[int]()
    for where, kind in zip(data, kinds, strict=True):
        if kind == "shards":
            shards = open_shards(where, spec, {} if parts else others)
            parts.append(shards.in_memory() if to_measure else shards)
            counts.append(sum(shard.frames for shard in shards.manifest.of("train")))
        elif kind == "arrays":
            arrays = open_arrays(where, [] if parts else evaluate)
            parts.append(arrays)
            counts.append(len(arrays.sets["train"]))
    if to_measure and folders and "disparity" not in spec.names:
        images = [where for where in folders if not (where.is_dir() and rgbd_folders(where))]
        folders = [where for where in folders if where not in images]
        sources = [open_images(where, spec) for where in images]
        parts += sources
        counts += [len(source.sets["train"]) for source in sources]
    if spec.range != (-1.0, 1.0) and (folders or "shards" in kinds):
        raise ValueError(f"frames are read into [-1, 1], but the prior's range is {spec.range}. Name arrays instead.")
    if folders:
        frames = open_frames(folders, spec, reading, {} if parts else others, most=_MOST_FRAMES if to_measure else None)
        parts.append(frames)
        counts.append(frames.count)
    return mixed(parts, counts)


def _measured_set(where: Path, spec: PatchSpec, reading: ReadOptions) -> Pyramid:
    """Read all frames of a folder, or held-out ones of shards; the spec's depth factor is for the training data."""
    if has_shards(where):
        return open_shards(where, spec).frames("val")
    bad = BadFrames(reading)
    spec = dataclasses.replace(spec, depth_factor=1.0)
    return load_pyramids({"all": find_frames([where], channels=spec.names, bad=bad)}, spec, bad)["all"]
