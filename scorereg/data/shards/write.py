"""Convert raw frames to shards: `scorereg prepare`.

Frames are split by scene, shuffled, and assigned to shards by a plan that depends on the data and the settings alone.
A shard that exists with the right plan and checksum is kept, so that an interrupted call can be continued.
"""

import dataclasses
import hashlib
import io
import json
import math
import multiprocessing
import os
import signal
import tarfile
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from scorereg._io import check_folder, check_names, free_bytes, hold_folder, write_beside
from scorereg._progress import steps
from scorereg.data.bad_frames import BadFrames, ReadOptions
from scorereg.data.channels import COLOR, DEPTH, RGBD, maps_of
from scorereg.data.frames.build import maps_to_read
from scorereg.data.frames.depth_unit import DepthRange
from scorereg.data.frames.discover import find_frames
from scorereg.data.frames.frame import Frame, Planes
from scorereg.data.frames.pyramid import RAW_MAX
from scorereg.data.frames.read import read_frame, read_reduced
from scorereg.data.shards.codec import encode
from scorereg.data.shards.manifest import MANIFEST, Manifest, Shard
from scorereg.data.shards.plan import Job, jobs_of, splits_of
from scorereg.data.shards.remote import Location, checksum

__all__ = ["prepare"]

_CONVENTION = {
    "rgb.webp": "8-bit colour, lossless, as stored in the photo",
    "depth.png": "inverse planar depth: 0 unknown, q = 1 .. 65535 is (q - 1) / 65534 * inverse_max, in 1/m",
    "NAME.png": "a further map: 0 unknown, q is (q - 1) / 65534 * 2 - 1; its values one image above the other",
    "normal": "camera axes, x right, y down, z forwards; of length 1, pointing to the camera",
    "focal": "pixels; frames were reduced by exact area averages to `focal`, and never enlarged",
}


_SAMPLE = 4  # frames whose size tells that of all


def prepare(
    data: list[Path],
    out: Path,
    *,
    focal: float = 180.0,
    d_min: float = 0.5,
    channels: tuple[str, ...] = RGBD,
    shard_frames: int = 128,
    workers: int = 1,
    reading: ReadOptions | None = None,
    depth_factor: float = 1.0,
    licence: str = "",
    credits: tuple[str, ...] = (),
    name: str | None = None,
    progress: Callable[[int, int, int], None] = lambda done, total, written: None,
) -> Manifest:
    """Write frames as shards; after an interruption the same call continues.

    Args:
        data: Folders with frames, or folders of such folders.
        out: Folder for the shards.
        focal: Longest focal length that a run will ask for, in pixels; frames are reduced to it.
        d_min: Smallest depth at which disparity can be 1, in metres; depth is clipped at half of it.
        channels: Channels to store: `r`, `g`, `b`, `disparity`, `nx`, `ny`, `nz`, or names of further maps.
        shard_frames: Most frames of a shard.
        workers: Number of processes; the files do not depend on it.
        reading: Which frames may be left out; none, if not given.
        depth_factor: Multiplies the depth unit of the data.
        licence: Licence of the data.
        credits: Names to be credited.
        name: Name of the data; that of the first folder, if not given.
        progress: Called after each shard with the numbers of frames done, of all frames, and of bytes written.

    Returns:
        The manifest.

    Raises:
        OSError: If a file cannot be read or written.
        ValueError: If the data are not usable, more than 1 % of the frames are bad, or `out` holds other shards.
    """
    for value, what in ((focal, "focal"), (d_min, "d_min"), (depth_factor, "depth_factor")):
        if not 0 < value < math.inf:
            raise ValueError(f"{what} must be > 0, but is {value:g}.")
    bad = BadFrames(reading or ReadOptions())
    data = [folder.absolute() for folder in data]  # the plan must not depend on the working directory
    frames = find_frames(data, channels=channels, depth_factor=depth_factor, bad=bad)
    total = len(frames) + len(bad.messages)
    bad.check(total)
    _check_units(frames, channels)
    splits = splits_of(frames)
    common = {"channels": channels, "focal": focal, "inverse_max": RAW_MAX / d_min, "reading": bad.options}
    jobs = jobs_of(splits, out, shard_frames, **common)
    check_folder(out)
    check_names(out / MANIFEST, *(job.path for job in jobs))
    with hold_folder(out):
        known = _known(out, jobs)
        _check_space(out, jobs, known)
        shards: dict[Path, Shard] = {}
        unpaired = tuple(bad.messages)
        for job, shard in steps("writing shards", _run(jobs, known, workers), len(jobs)):
            shards[job.path] = shard
            bad.messages += shard.skipped
            bad.check(total)
            progress(sum(s.frames for s in shards.values()), total, sum(s.bytes for s in shards.values()))
        manifest = Manifest(
            name or data[0].resolve().name, channels, focal, d_min, RAW_MAX / d_min,
            tuple(shards[job.path] for job in jobs),
            {split: tuple(sorted({frame.scene for frame in part})) for split, part in splits.items()},
            licence, credits, unpaired, tuple(bad.left_out), _CONVENTION,
        )  # fmt: skip
        write_beside(out / MANIFEST, lambda path: path.write_text(manifest.to_json(), encoding="utf-8"))
        for job in jobs:
            _note(job.path).unlink(missing_ok=True)
        return manifest


def write_shard(job: Job) -> Shard:
    """Write a shard, and its entry of the manifest as a note beside it."""
    bad = BadFrames(job.reading)
    buffer, count = io.BytesIO(), 0
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for key, frame in enumerate(steps(f"frames of {job.path.name}", job.frames), job.first):
            try:
                files = _files(job, frame)
            except (OSError, ValueError) as error:
                bad.add(error)
                continue
            count += 1
            for kind, content in files.items():
                info = tarfile.TarInfo(f"{key:08d}.{kind}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    content = buffer.getvalue()
    sha256 = hashlib.sha256(content).hexdigest()
    shard = Shard(job.path.name, job.split, count, len(content), sha256, job.plan, tuple(bad.messages))
    write_beside(job.path, lambda path: path.write_bytes(content))
    note = json.dumps(dataclasses.asdict(shard))
    write_beside(_note(job.path), lambda path: path.write_text(note, encoding="utf-8"))
    return shard


def _run(jobs: list[Job], known: dict[str, Shard], workers: int) -> Iterator[tuple[Job, Shard]]:
    """Yield each shard when it is done; those that exist come first."""
    missing = []
    for job in jobs:
        kept = known.get(job.path.name)
        if kept and kept.plan == job.plan and job.path.is_file() and checksum(job.path) == kept.sha256:
            yield job, kept
        else:
            missing.append(job)
    if workers <= 1 or len(missing) <= 1:
        for job in missing:
            yield job, write_shard(job)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(missing)), mp_context=context, initializer=_start_worker)
    try:
        futures = {pool.submit(write_shard, job): job for job in missing}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool:
        raise ValueError(
            "a worker was ended from outside, perhaps for lack of memory. The same command goes on; give fewer "
            "--workers."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Leave interrupts to the first process, and end with it, as another may go on in its place."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def _check_space(out: Path, jobs: list[Job], known: dict[str, Shard]) -> None:
    """Warn if the shards that are missing will not have room, by the size of a few of their frames."""
    missing = [job for job in jobs if job.path.name not in known]
    frames = [(job, frame) for job in missing for frame in job.frames]
    sizes = []
    for job, frame in frames[:: -(-len(frames) // _SAMPLE) or 1]:
        try:
            sizes.append(sum(-(-len(content) // 512) * 512 + 512 for content in _files(job, frame).values()))
        except (OSError, ValueError):
            continue  # named when its shard is written
    free = free_bytes(out)
    need = sum(sizes) / max(len(sizes), 1) * len(frames)
    if need > free:
        warnings.warn(
            f"the shards that are to be written have about {need / 1e9:.2g} GB, but the disk of {out} has "
            f"{free / 1e9:.2g} GB left. Free some space, or choose another --out; what is finished is kept.",
            stacklevel=3,
        )


def _files(job: Job, frame: Frame) -> dict[str, bytes]:
    """A frame's files in its shard; large photos are reduced as they are read."""
    maps, settings = maps_to_read(frame, job.channels), {"focal": job.focal, "inverse_max": job.inverse_max}
    try:
        color = read_reduced(frame, job.focal) if maps == (COLOR,) else None
        planes = Planes() if color is not None else read_frame(frame, maps)
        return encode(frame, planes, **settings, color=color)
    except MemoryError:
        raise ValueError(f"{frame.file} needs more memory than there is. Reduce it, or leave it out.") from None


def _known(out: Path, jobs: list[Job]) -> dict[str, Shard]:
    """Return the shards that exist by name, from the manifest or from the notes of an interrupted call."""
    known: dict[str, Shard] = {}
    if (out / MANIFEST).is_file():
        manifest = Manifest.read(Location(out))
        plans = {job.path.name: job.plan for job in jobs}
        if any(plans.get(shard.name) != shard.plan for shard in manifest.shards):
            raise ValueError(f"{out} holds shards of other data or other settings. Choose another --out.")
        known = {shard.name: shard for shard in manifest.shards}
    for job in jobs:
        if _note(job.path).is_file():
            try:
                known[job.path.name] = Shard.of(json.loads(_note(job.path).read_text(encoding="utf-8")))
            except (ValueError, KeyError, TypeError):
                continue  # cut off by a crash; the shard is made again
    return known


def _note(path: Path) -> Path:
    return path.with_name(f".{path.name}.json")


def _check_units(frames: list[Frame], channels: tuple[str, ...]) -> None:
    """Check the depth unit by one frame of each of up to 64 scenes, before the long part of the work."""
    if DEPTH not in maps_of(channels):
        return
    scenes = {frame.scene: frame for frame in reversed(frames)}
    ranges = DepthRange()
    for scene in steps("depth units of scenes", sorted(scenes)[:: -(-len(scenes) // 64)]):
        try:
            ranges.add(scene, read_frame(scenes[scene], (DEPTH,)).metres)
        except (OSError, ValueError):
            continue  # counted when its shard is written
    ranges.check()
