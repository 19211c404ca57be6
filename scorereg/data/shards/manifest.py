"""Shards: reduced and quantised frames in tar files with WebDataset's naming, and their manifest.

manifest.json       counts, checksums, focal length, d_min, licence
train-00000.tar     about a hundred frames of mixed scenes: 00000012.rgb.webp, 00000012.depth.png, 00000012.json
val-00000.tar       frames of scenes that are held out
"""

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from scorereg.data.frames.frame import Frame, Planes
from scorereg.data.shards.codec import decode
from scorereg.data.shards.remote import Location, bare_name

__all__ = ["MANIFEST", "Manifest", "Shard", "has_shards", "read_shard"]

MANIFEST = "manifest.json"
_FORMAT = "scorereg shards 1"


@dataclass(frozen=True)
class Shard:
    """One tar file.

    Args:
        name: File name.
        split: `"train"`, `"val"` or `"test"`.
        frames: Number of frames.
        bytes: File size.
        sha256: Checksum of the file.
        plan: Key of the data and settings that it was made from.
        skipped: Errors of frames that were left out.
    """

    name: str
    split: str
    frames: int
    bytes: int
    sha256: str
    plan: str
    skipped: tuple[str, ...] = ()

    @classmethod
    def of(cls, facts: dict[str, Any]) -> "Shard":
        """Return the shard that a JSON object describes.

        Raises:
            ValueError: If its name is a path, or its size is no number of bytes.
        """
        bare_name(facts["name"])
        if not isinstance(facts["bytes"], int) or facts["bytes"] < 0:
            raise ValueError(f"{facts['bytes']!r} is no number of bytes")
        return cls(**{**facts, "skipped": tuple(facts["skipped"])})


@dataclass(frozen=True)
class Manifest:
    """Content of `manifest.json`.

    Args:
        name: Name of the data.
        channels: Channels that can be read.
        focal: Longest focal length of a frame, in pixels; each has its own in its JSON.
        d_min: Smallest `d_min` that the stored depth allows, in metres.
        inverse_max: Inverse depth that is stored as 65535, in 1/m.
        shards: The tar files.
        scenes: Names of the scenes of each split.
        licence: Licence of the data.
        credits: Names to be credited.
        skipped: Errors of frames that were left out before shards were planned.
        left_out: Scenes that were left out as a whole, with the reason.
        convention: The encoding in words.
    """

    name: str
    channels: tuple[str, ...]
    focal: float
    d_min: float
    inverse_max: float
    shards: tuple[Shard, ...]
    scenes: dict[str, tuple[str, ...]]
    licence: str = ""
    credits: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    convention: dict[str, str] = field(default_factory=dict)

    def of(self, split: str) -> tuple[Shard, ...]:
        """Return the shards of a split."""
        return tuple(shard for shard in self.shards if shard.split == split)

    @property
    def frames(self) -> int:
        """Number of frames."""
        return sum(shard.frames for shard in self.shards)

    @property
    def bytes(self) -> int:
        """Size of all shards."""
        return sum(shard.bytes for shard in self.shards)

    def to_json(self) -> str:
        """Return the content of `manifest.json`."""
        counts = {"format": _FORMAT, "frames": self.frames, "bytes": self.bytes}
        return json.dumps({**counts, **asdict(self)}, indent=2) + "\n"

    @classmethod
    def read(cls, location: Location) -> "Manifest":
        """Read the manifest of a folder of shards.

        Raises:
            OSError: If it is not there.
            ValueError: If it is not a manifest of this format.
        """
        path = location.file(MANIFEST, location.pin)
        try:
            facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if facts.pop("format") != _FORMAT:
                raise ValueError("of another format")
            for counted in ("frames", "bytes"):
                facts.pop(counted)
            shards = tuple(Shard.of(shard) for shard in facts.pop("shards"))
            scenes = {name: tuple(scenes) for name, scenes in facts.pop("scenes").items()}
            lists: dict[str, Any] = {
                name: tuple(facts.pop(name)) for name in ("channels", "credits", "skipped", "left_out")
            }
            return cls(**facts, **lists, shards=shards, scenes=scenes)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{location}/{MANIFEST} is no manifest of shards ({error}). Prepare them again.") from None


def has_shards(where: str | Path) -> bool:
    """Return whether a folder has a manifest of shards; a URL is taken to have one."""
    return Location(where).has(MANIFEST)


def read_shard(
    location: Location, manifest: Manifest, shard: Shard, maps: tuple[str, ...]
) -> Iterator[tuple[Frame, Planes]]:
    """Yield the frames of a shard in stored order.

    Raises:
        OSError: If it cannot be read or fetched, or its checksum is not the manifest's.
    """
    data = location.file(shard.name, shard.sha256, shard.bytes).read_bytes()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        key, files = "", dict[str, bytes]()
        for member in tar:
            name, _, kind = member.name.partition(".")
            content = tar.extractfile(member)
            assert content is not None, "a shard holds files only"
            if name != key and files:
                yield decode(key, files, inverse_max=manifest.inverse_max, maps=maps)
                files = {}
            key, files[kind] = name, content.read()
        if files:
            yield decode(key, files, inverse_max=manifest.inverse_max, maps=maps)
