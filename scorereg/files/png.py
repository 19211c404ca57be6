"""Chunks of a PNG, read without decoding it: checksums, which Pillow leaves out, and EXIF, for which it decodes all."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

__all__ = ["check_sums", "exif_of"]

_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT")
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_KEYWORDS = (
    b"Raw profile type exif",
    b"Raw profile type APP1",
    b"XML:com.adobe.xmp",
)  # EXIF as older programs write it
_BLOCK = 2**20
_INDEXED = 3  # type of colour whose pixels are places in a palette


def check_sums(path: Path) -> None:
    """Check the checksums of all that pixels are made of: a flipped bit would change them.

    Raises:
        ValueError: If one is wrong, the file ends too early, or a palette is missing.
    """
    seen, palette = set[bytes](), False
    with path.open("rb") as file:
        for name, length in _chunks(file, path.stat().st_size):
            seen.add(name)
            if name not in _PIXELS:
                continue
            total = zlib.crc32(name)
            if name == b"IHDR" and length == 13:
                palette = file.read(10)[9] == _INDEXED
                file.seek(-10, 1)
            if name == b"IDAT" and palette and b"PLTE" not in seen:
                raise ValueError("its palette is missing")
            for start in range(0, length, _BLOCK):
                total = zlib.crc32(file.read(min(_BLOCK, length - start)), total)
            if total != int.from_bytes(file.read(4)):
                raise ValueError("a checksum is wrong")


def exif_of(path: Path) -> bytes | None:
    """The block of EXIF, which may come after the pixels; empty if it is in texts, None if there is none.

    Raises:
        ValueError: If the file ends too early.
    """
    with path.open("rb") as file:
        for name, length in _chunks(file, path.stat().st_size):
            if name == b"eXIf":
                return file.read(length)
            if name in _TEXTS and file.read(min(length, 32)).startswith(_KEYWORDS):
                return b""
    return None


def _chunks(file: IO[bytes], size: int) -> Iterator[tuple[bytes, int]]:
    """Yield name and length of each chunk, with the file at the beginning of its content."""
    place = 8
    while place + 12 <= size:
        file.seek(place)
        length, name = struct.unpack(">I4s", file.read(8))
        place += 12 + length
        if place > size:
            raise ValueError("it ends too early")
        yield name, length
        if name == b"IEND":
            return
