"""Archives whose members lead out of a folder, grow or are links; in shards, .npz files and checkpoints."""

import gzip
import hashlib
import io
import json
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.hostile.case import Cases, Place, edit_json, put

__all__ = ["CASES", "reseal"]

CASES = Cases("archives")


def reseal(folder: Path, shard: str, data: bytes) -> None:
    """Write a shard, and its size and checksum into the manifest."""
    put(folder / shard, data)

    def change(table: dict[str, Any]) -> None:
        (entry,) = [entry for entry in table["shards"] if entry["name"] == shard]
        entry["bytes"], entry["sha256"] = len(data), hashlib.sha256(data).hexdigest()

    edit_json(folder / "manifest.json", change)


def _tar(folder: Path, change: Callable[[str, bytes], bytes | None]) -> None:
    """Pack a shard anew, with the contents of its files changed."""
    out = io.BytesIO()
    with tarfile.open(folder / "train-00000.tar") as old, tarfile.open(fileobj=out, mode="w") as new:
        for member in old:
            stream = old.extractfile(member)
            assert stream is not None
            data = change(member.name, stream.read())
            if data is not None:
                member.size = len(data)
                new.addfile(member, io.BytesIO(data))
    reseal(folder, "train-00000.tar", out.getvalue())


def _with(folder: Path, *members: tuple[tarfile.TarInfo, bytes]) -> None:
    """Add members before those of a shard."""
    out = io.BytesIO()
    with tarfile.open(folder / "train-00000.tar") as old, tarfile.open(fileobj=out, mode="w") as new:
        for info, data in members:
            info.size = len(data)
            new.addfile(info, io.BytesIO(data) if data else None)
        for member in old:
            new.addfile(member, old.extractfile(member))
    reseal(folder, "train-00000.tar", out.getvalue())


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


_MEMBERS: dict[str, Callable[[Place], tuple[tarfile.TarInfo, bytes]]] = {
    "a member above the folder": lambda place: (_member("../../outside/x.py"), b"x"),
    "an absolute member": lambda place: (_member(f"{place.outside}/x.py"), b"x"),
    "a symbolic link": lambda place: (_member("00000000.rgb.webp", tarfile.SYMTYPE, "/etc/passwd"), b""),
    "a hard link": lambda place: (_member("00000000.rgb.webp", tarfile.LNKTYPE, "../../outside/x"), b""),
    "a device": lambda place: (_member("00000000.rgb.webp", tarfile.CHRTYPE), b""),
    "a pipe": lambda place: (_member("00000000.rgb.webp", tarfile.FIFOTYPE), b""),
    "a folder": lambda place: (_member("00000000.rgb.webp", tarfile.DIRTYPE), b""),
    "an escape sequence": lambda place: (_member("\x1b[2J0.rgb.webp"), b"x"),
}
CASES.each(
    "train", "shards", {f"{name} in a shard": make for name, make in _MEMBERS.items()},
    lambda place, make: _with(place.input, make(place)),
)  # fmt: skip


@CASES.add("train", "shards")
def _a_shard_of_two_frames_of_one_name(place: Place) -> None:
    data = b"x" * 100
    _with(place.input, (_member("00000000.rgb.webp"), data), (_member("00000000.rgb.webp"), data))


@CASES.add("train", "shards")
def _a_shard_packed_by_gzip(place: Place) -> None:
    reseal(place.input, "train-00000.tar", gzip.compress(bytes(2**20) * 3000, 9))


@CASES.add("train", "shards")
def _a_sparse_member_of_a_terabyte(place: Place) -> None:
    info = _member("00000000.rgb.webp")
    info.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.size": str(2**40), "GNU.sparse.map": "0,10"}
    _with(place.input, (info, b"x" * 512))


@CASES.add("train", "shards")
def _a_tar_header_of_a_terabyte(place: Place) -> None:
    info = _member("00000000.rgb.webp")
    info.size = 2**40
    reseal(place.input, "train-00000.tar", info.tobuf(tarfile.GNU_FORMAT) + b"x" * 5120)


@CASES.add("train", "shards")
def _a_shard_that_is_cut_off(place: Place) -> None:
    reseal(place.input, "train-00000.tar", (place.input / "train-00000.tar").read_bytes()[:700])


@CASES.add("train", "shards")
def _a_shard_of_noise(place: Place) -> None:
    reseal(place.input, "train-00000.tar", np.random.default_rng(0).bytes(5000))


@CASES.add("train", "shards")
def _an_empty_shard(place: Place) -> None:
    reseal(place.input, "train-00000.tar", b"")


@CASES.add("train", "shards")
def _postscript_in_place_of_colour(place: Place) -> None:
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n%%EndComments\n"
    script += f"(%pipe%{place.shell}) (w) file closefile showpage\n".encode()
    _tar(place.input, lambda name, data: script if name.endswith(".webp") else data)


@CASES.add("train", "shards")
def _a_bomb_in_place_of_depth(place: Place) -> None:
    bomb = big_png(30_000, 30_000)
    _tar(place.input, lambda name, data: bomb if name.endswith(".png") else data)


@CASES.add("train", "shards")
def _noise_in_place_of_colour(place: Place) -> None:
    _tar(place.input, lambda name, data: b"RIFF" + data[40:] if name.endswith(".webp") else data)


def _frame_json(place: Place, change: Any) -> None:
    def spoil(name: str, data: bytes) -> bytes | None:
        if not name.endswith(".json"):
            return data
        return change if isinstance(change, bytes | None) else json.dumps({**json.loads(data), **change}).encode()

    _tar(place.input, spoil)


_FRAMES: dict[str, Any] = {
    "without a size": {"size": None},
    "of a size of 10^9": {"size": [10**9, 10**9]},
    "of a focal length of NaN": {"focal": [float("nan")] * 2},
    "of a focal length in words": {"focal": "fifty"},
    "of a scene that is a number": {"scene": 7},
    "nested 100,000 deep": b"[" * 100_000,
    "that is no JSON": b"\xff\xfe\x00{",
    "that is a list": b"[]",
    "that is missing": None,
}
CASES.each("train", "shards", {f"a frame's JSON {name}": value for name, value in _FRAMES.items()}, _frame_json)


def big_png(width: int, height: int) -> bytes:
    """A PNG of one colour and 16 bits, deflated twice over a row."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    packer, body = zlib.compressobj(9), []
    row = bytes(1 + 2 * width)
    body = [packer.compress(row) for _ in range(height)] + [packer.flush()]
    head = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"".join(body)) + chunk(b"IEND", b"")


def _npz(place: Place, members: dict[str, bytes]) -> None:
    (place.input / "one/depth/0.png").unlink()
    with zipfile.ZipFile(place.input / "one/depth/0.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def _npy(shape: tuple[int, ...], data: bytes, kind: str = "<f4") -> bytes:
    head = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data


_ARRAYS: dict[str, dict[str, bytes]] = {
    "of three gigabytes of zeros": {"depth.npy": _npy((3 * 2**18, 1024), bytes(2**20) * 64)},
    "with a member above the folder": {"../../../outside/x.npy": _npy((2, 2), bytes(16))},
    "without arrays": {},
    "of texts": {"depth.npy": b"hello"},
}
CASES.each("prepare", "frames", {f"an .npz {name}": m for name, m in _ARRAYS.items()}, _npz)


@CASES.add("prepare", "frames")
def _an_npz_that_grows_to_three_gigabytes(place: Place) -> None:
    (place.input / "one/depth/0.png").unlink()
    with zipfile.ZipFile(place.input / "one/depth/0.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        with archive.open("depth.npy", "w", force_zip64=True) as file:
            file.write(_npy((3 * 2**18, 1024), b""))
            for _ in range(3 * 2**10):
                file.write(bytes(2**20))


@CASES.add("prepare", "frames")
def _an_npz_whose_members_overlap(place: Place) -> None:
    """A thousand entries of the directory that all name one member, as in Fifield's bomb."""
    _npz(place, {"depth.npy": _npy((48, 64), np.ones((48, 64), "<f4").tobytes())})
    path = place.input / "one/depth/0.npz"
    data = path.read_bytes()
    start = data.index(b"PK\1\2")
    end = data.index(b"PK\5\6")
    entry, count = data[start:end], 60_000
    tail = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, count * len(entry), start, 0)
    path.write_bytes(data[:start] + entry * count + tail)


@CASES.add("inspect", target="model.pt")
def _a_checkpoint_packed_by_deflate(place: Place) -> None:
    plain = io.BytesIO()
    torch.save({"a": torch.zeros(10)}, plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(place.input / "model.pt", "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name) + bytes(2**20 if "/data/" in name else 0))


@CASES.add("inspect", target="model.pt")
def _a_zip_of_zips(place: Place) -> None:
    data = b"0" * 10_000
    for _ in range(6):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for i in range(16):
                archive.writestr(f"{i}.zip", data)
        data = out.getvalue()
    put(place.input / "model.pt", data)


@CASES.add("inspect", target="model.tar.gz")
def _a_packed_archive_as_a_prior(place: Place) -> None:
    put(place.input / "model.tar.gz", gzip.compress(bytes(2**24)))


@CASES.add("inspect", target="model.pt")
def _a_gzip_that_holds_itself(place: Place) -> None:
    """The head of a quine: an unpacker that goes on as long as it finds an archive does not end."""
    put(place.input / "model.pt", b"\x1f\x8b\x08\x08" + bytes(6) + b"r\0" + gzip.compress(b"\x1f\x8b" * 500))


@CASES.add("fit", target="scene.zip")
def _a_zip_as_a_scene(place: Place) -> None:
    with zipfile.ZipFile(place.input / "scene.zip", "w") as archive:
        archive.writestr("../../outside/x.py", "x")


@CASES.add("prepare", target="frames.tar")
def _a_tar_as_frames(place: Place) -> None:
    with tarfile.open(place.input / "frames.tar", "w") as archive:
        archive.addfile(_member("../../outside/x.py"))
