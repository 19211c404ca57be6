"""Shards: reduced and quantised frames in tar files with WebDataset's naming, and their manifest.

manifest.json       counts, checksums, focal length, d_min, licence
train-00000.tar     about a hundred frames of mixed scenes: 00000012.rgb.webp, 00000012.depth.png, 00000012.json
val-00000.tar       frames of scenes that are held out
"""

import io
import json
import re
import tarfile
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from scorereg._io import parse_json, read_text
from scorereg.data.frames.frame import Frame, Planes
from scorereg.data.frames.pyramid import RAW_MAX
from scorereg.data.shards.codec import decode
from scorereg.data.shards.remote import MOST_SHARD, Location, bare_name
from scorereg.files.pixels import Refused
from scorereg.files.text import as_number

__all__ = ["MANIFEST", "Manifest", "Shard", "has_shards", "read_shard"]

MANIFEST = "manifest.json"
_FORMAT = "scorereg shards 1"
_SPLITS = ("train", "val", "test")
_LARGEST = 1e6
_ROUNDING = 1e-6
_REMEDY = "Prepare them again."


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
    def of(cls, facts: Any) -> "Shard":
        """Return the shard that a JSON object describes.

        Raises:
            ValueError: If its name is a path, its size is beyond `MOST_SHARD`, or a value is of another type.
        """
        if not isinstance(facts, dict):
            raise ValueError(f"a shard is {facts!r:.40}")
        name, sha256, size, frames = bare_name(facts["name"]), facts["sha256"], facts["bytes"], facts["frames"]
        if type(size) is not int or not 0 <= size <= MOST_SHARD:
            raise ValueError(f"{name} has {size!r:.40} bytes, but a shard has up to {MOST_SHARD}")
        if type(frames) is not int or not 0 <= frames <= size // tarfile.BLOCKSIZE:
            raise ValueError(f"{name} has {frames!r:.40} frames, which {size} bytes cannot hold")
        if not isinstance(sha256, str) or not re.fullmatch("[0-9a-f]{64}", sha256):
            raise ValueError(f"the checksum of {name} is {sha256!r:.80}")
        if facts["split"] not in _SPLITS:
            raise ValueError(f"the split of {name} is {facts['split']!r:.40}")
        (plan,) = texts([facts["plan"]], "plan")
        return cls(**{**facts, "plan": plan, "skipped": texts(facts.get("skipped", []), "skipped")})


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
        where = f"{location}/{MANIFEST}"
        try:
            return _manifest(parse_json(read_text(path, _REMEDY), where, _REMEDY))
        except KeyError as error:
            raise ValueError(f"{where} is no manifest of shards ({error} is missing). {_REMEDY}") from None
        except (ValueError, TypeError, AttributeError) as error:
            if str(error).startswith(where):
                raise
            raise ValueError(f"{where} is no manifest of shards ({error}). {_REMEDY}") from None


def _manifest(facts: dict[str, Any]) -> Manifest:
    """The manifest of a JSON object, after a check of its types and ranges."""
    if facts.pop("format") != _FORMAT:
        raise ValueError("of another format")
    for counted in ("frames", "bytes"):
        facts.pop(counted)
    shards = tuple(Shard.of(shard) for shard in facts.pop("shards"))
    if len({shard.name for shard in shards}) < len(shards):
        raise ValueError("two shards of one name")
    scenes = {name: texts(scenes, "scenes") for name, scenes in facts.pop("scenes").items()}
    if missing := sorted({shard.split for shard in shards} - set(scenes)):
        raise ValueError(f"no scenes of {missing[0]}")
    numbers: dict[str, float] = {}
    for name in ("focal", "d_min", "inverse_max"):
        found = as_number(facts.pop(name))
        if found is None or not 1 / _LARGEST < found < _LARGEST:
            raise ValueError(f"{name} is no number above 0 that can be one")
        numbers[name] = found
    if abs(numbers["inverse_max"] * numbers["d_min"] / RAW_MAX - 1) > _ROUNDING:
        raise ValueError("d_min and inverse_max do not belong together")
    name, licence = texts([facts.pop("name"), facts.pop("licence", "")], "name or licence", plain=True)
    lists = {name: texts(facts.pop(name), name, plain=True) for name in ("channels", "credits")}
    lists |= {name: texts(facts.pop(name), name) for name in ("skipped", "left_out")}
    convention = facts.pop("convention", {})
    texts(list(convention.values()), "convention")
    return Manifest(
        name, shards=shards, scenes=scenes, licence=licence, convention=convention, **numbers, **lists, **facts
    )


def texts(values: Any, name: str, *, plain: bool = False) -> tuple[str, ...]:
    """Return a list of texts as a tuple.

    Args:
        values: The list.
        name: What it is, for the error.
        plain: Refuse control characters and line breaks.

    Raises:
        ValueError: If it is no list of texts.
    """
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{name} is no text, or no list of texts")
    if plain and any(unicodedata.category(letter) == "Cc" for value in values for letter in value):
        raise ValueError(f"{name} has control characters or line breaks")
    return tuple(values)


def has_shards(where: str | Path) -> bool:
    """Return whether a folder has a manifest of shards; a URL is taken to have one."""
    return Location(where).has(MANIFEST)


def read_shard(
    location: Location, manifest: Manifest, shard: Shard, maps: tuple[str, ...]
) -> Iterator[tuple[Frame, Planes]]:
    """Yield the frames of a shard in stored order.

    Nothing is unpacked: the contents of plain files are decoded in memory, and their names only tell them apart.

    Raises:
        OSError: If it cannot be read or fetched, or its checksum is not the manifest's.
        ValueError: If it is no tar file of frames.
    """
    path = location.file(shard.name, shard.sha256, shard.bytes)
    key, files, count = "", dict[str, bytes](), 0
    for name, content in _members(path):
        frame, _, kind = name.partition(".")
        if frame != key and files:
            yield _decoded(path, key, files, manifest, maps)
            files, count = {}, count + 1
        if kind in files:
            raise ValueError(f"{path} is damaged: it has {frame!r:.40}.{kind!r:.20} twice. {_REMEDY}")
        key, files[kind] = frame, content
    if files:
        yield _decoded(path, key, files, manifest, maps)
        count += 1
    if count != shard.frames:
        raise ValueError(f"{path} is damaged: it has {count} frames, but {MANIFEST} says {shard.frames}. {_REMEDY}")


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file of a tar; it is not packed, so that it cannot grow."""
    try:
        with tarfile.open(fileobj=io.BytesIO(path.read_bytes()), mode="r:") as tar:
            for member in tar:
                if not member.isreg() or member.issparse():
                    raise ValueError(f"{member.name!r:.60} is no plain file")
                stream = tar.extractfile(member)
                assert stream is not None, "a plain file has a content"
                content = stream.read()
                if len(content) != member.size:
                    raise ValueError(f"{member.name!r:.60} is cut off")
                yield member.name, content
    except (tarfile.TarError, ValueError, EOFError, OverflowError) as error:
        if isinstance(error, Refused):
            raise
        raise Refused(f"{path} is no tar file of frames ({' '.join(str(error).split())[:160]}). {_REMEDY}") from None


def _decoded(
    path: Path, key: str, files: dict[str, bytes], manifest: Manifest, maps: tuple[str, ...]
) -> tuple[Frame, Planes]:
    try:
        return decode(key, files, inverse_max=manifest.inverse_max, maps=maps)
    except Exception as error:  # of decoders of pictures, and of what a stranger wrote into the JSON
        words = " ".join(str(error).split())[:160] or type(error).__name__
        raise Refused(f"{path}: its frame {key!r:.40} cannot be read ({words}). {_REMEDY}") from None
