"""Frames of shards in memory, and the check that a run can use some shards."""

from itertools import islice

from scorereg.data.channels import DEPTH, channel_names, maps_of
from scorereg.data.frames.build import PyramidBuilder
from scorereg.data.frames.pyramid import Pyramid
from scorereg.data.shards.manifest import Manifest, read_shard
from scorereg.data.shards.remote import Location
from scorereg.training.settings import Settings

__all__ = ["MEASURED", "check_manifest", "maps_in_shards", "pyramid_of_shards"]

MEASURED = 512  # frames of shards to measure on, or to fit the linear filter to


def pyramid_of_shards(place: Location, manifest: Manifest, split: str, settings: Settings) -> Pyramid:
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


def check_manifest(place: Location, manifest: Manifest, settings: Settings) -> None:
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
