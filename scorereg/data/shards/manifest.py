"""Shards: frames that were reduced and quantised once, in tar files as WebDataset names them, with a manifest.

manifest.json       what is in the shards: counts, checksums, focal length, d_min, licence
train-00000.tar     some hundred frames of all scenes mixed: 00000012.rgb.webp, 00000012.depth.png, 00000012.json
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
from scorereg.data.shards.remote import Location

__all__ = ["MANIFEST", "Manifest", "Shard", "has_shards", "read_shard"]

MANIFEST = "manifest.json"
_FORMAT = "scorereg shards 1"


@dataclass(frozen=True)
class Shard:
    """One tar file.

    Args:
        name: Its name.
        split: `"train"`, `"val"` or `"test"`.
        frames: Number of frames.
        bytes: Its size.
        sha256: Its checksum.
        plan: Key of the data and settings that it was made of.
        skipped: What was wrong with frames that were skipped.
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
        """Return the shard of a JSON object."""
        return cls(**{**facts, "skipped": tuple(facts["skipped"])})


@dataclass(frozen=True)
class Manifest:
    """What `scorereg prepare` wrote.

    Args:
        name: Name of the data.
        channels: What can be read.
        focal: Longest focal length of a frame, in pixels; each has its own in its JSON.
        d_min: Smallest `d_min` that the stored depth is good for, in metres.
        inverse_max: Inverse depth that 65535 stands for, in 1/m.
        shards: The tar files.
        scenes: Names of the scenes of each split.
        licence: Licence of the data.
        credits: Whom to name.
        skipped: What was wrong with frames that no shard was planned for.
        left_out: Scenes that were left out on purpose, with the reason.
        convention: The same in words.
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
    def read(cls, place: Location) -> "Manifest":
        """Read the manifest of a folder of shards.

        Raises:
            OSError: If it is not there.
            ValueError: If it is none.
        """
        path = place.file(MANIFEST)
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
            raise ValueError(f"{place}/{MANIFEST} is no manifest of shards ({error}). Prepare them again.") from None


def has_shards(where: str | Path) -> bool:
    """Say whether a folder or URL is one of shards; a URL can be nothing else."""
    return Location(where).has(MANIFEST)


def read_shard(
    place: Location, manifest: Manifest, shard: Shard, maps: tuple[str, ...]
) -> Iterator[tuple[Frame, Planes]]:
    """Yield the frames of a shard, in the order in which they are stored.

    Raises:
        OSError: If it cannot be read or fetched, or its checksum is not the manifest's.
    """
    data = place.file(shard.name, shard.sha256).read_bytes()
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
