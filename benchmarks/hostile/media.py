"""Pictures: bombs, films, other kinds under a picture's name, heads and profiles that promise more than there is."""
# ruff: noqa: E501 (tables with a case a line)

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.hostile.archives import big_png
from benchmarks.hostile.case import Cases, Place, put

__all__ = ["CASES"]

CASES = Cases("pictures")


def _saved(kind: str, value: np.ndarray | None = None, **more: Any) -> bytes:
    out = io.BytesIO()
    value = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8) if value is None else value
    Image.fromarray(value).save(out, kind, **more)
    return out.getvalue()


def _png(*chunks: tuple[bytes, bytes], end: bytes = b"") -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks) + end


def _ihdr(width: int = 64, height: int = 48, depth: int = 8, color: int = 2) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)


_IDAT, _IEND = (b"IDAT", zlib.compress((b"\0" + bytes(64 * 3)) * 48)), (b"IEND", b"")


def _tiff(tags: list[tuple[int, int, int, int]], data: bytes = b"", *, wide: bool = False) -> bytes:
    head = b"II*\0" + struct.pack("<I", 8)
    body = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + struct.pack("<I", 0)
    return head + body + data


def _tags(width: int, height: int) -> list[tuple[int, int, int, int]]:
    return [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8),
            (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, width * height % 2**32)]  # fmt: skip


def _exif(entries: int) -> bytes:
    return (
        b"Exif\0\0"
        + b"II*\0\x08\0\0\0"
        + struct.pack("<H", min(entries, 65535))
        + b"\x12\x01\x03\0\x01\0\0\0\x08\0\0\0" * entries
    )


_JPEG = _saved("JPEG")
_SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
_EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n%%EndComments\n(%pipe%touch mark) (w) file closefile showpage\n"
_PHOTOS: dict[str, bytes | Callable[[], bytes]] = {
    "a PNG of 10^10 pixels": lambda: _png(_ihdr(100_000, 100_000, 1, 0), (b"IDAT", zlib.compress(bytes(10**6))), _IEND),
    "a PNG of 2^31 pixels a side": lambda: _png(_ihdr(2**31 - 1, 2**31 - 1), _IDAT, _IEND),
    "a PNG of 900 megapixels that are there": lambda: big_png(30_000, 30_000),
    "a PNG of 250 megapixels that are there": lambda: big_png(15_800, 15_800),
    "a PNG of no pixels": lambda: _png(_ihdr(0, 0), _IDAT, _IEND),
    "a PNG cut off": lambda: _saved("PNG")[:900],
    "a PNG of a chunk of 2^31 bytes": lambda: _png(_ihdr(), end=b"\x7f\xff\xff\xffIDATxx"),
    "a PNG of too few rows": lambda: _png(_ihdr(), (b"IDAT", zlib.compress(bytes(100))), _IEND),
    "a PNG of a text that grows": lambda: _png(_ihdr(), (b"zTXt", b"a\0\0" + zlib.compress(bytes(2**29))), _IDAT, _IEND),
    "a PNG of a profile that grows": lambda: _png(_ihdr(), (b"iCCP", b"a\0\0" + zlib.compress(bytes(2**29))), _IDAT, _IEND),
    "a PNG of a palette that is not there": lambda: _png(_ihdr(color=3), _IDAT, _IEND),
    "a PNG of 10^5 empty pixels": lambda: _png(_ihdr(), *[(b"IDAT", b"")] * 10**5, _IEND),
    "a PNG whose order is wrong": lambda: _png(_IDAT, _ihdr(), _IEND),
    "a GIF of 10^5 pictures": lambda: _gif(10**5),
    "a GIF of 65,535 a side": lambda: b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;",
    "a JPEG of 65,500 a side": lambda: _JPEG.replace(struct.pack(">HH", 48, 64), struct.pack(">HH", 65500, 65500), 1),
    "a JPEG cut off": lambda: _JPEG[: len(_JPEG) // 2],
    "a JPEG of zeros": lambda: _JPEG[:200] + bytes(len(_JPEG)),
    "a JPEG of no tables": lambda: b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0\xff\xd9",
    "a TIFF of 10^18 pixels": lambda: _tiff(_tags(10**9, 10**9), bytes(99)),
    "a TIFF whose directory is itself": lambda: b"II*\0\x08\0\0\0\0\0" + struct.pack("<I", 8),
    "a TIFF of 65,535 tags": lambda: b"II*\0\x08\0\0\0\xff\xff" + bytes(100),
    "a TIFF of strips beyond the file": lambda: _tiff([*_tags(64, 48)[:5], (273, 4, 1, 2**31), *_tags(64, 48)[6:]]),
    "a TIFF of a tag of 2^32 values": lambda: _tiff([*_tags(64, 48), (34675, 7, 2**32 - 1, 8)], bytes(64 * 48)),
    "a BigTIFF of 2^60 tags": lambda: b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**60),
    "a WebP of 16,383 a side": lambda: b"RIFF\x1c\0\0\0WEBPVP8L\x0f\0\0\0/\xff\xff\xff\x0f" + bytes(11),
    "a WebP cut off": lambda: _saved("WEBP")[:300],
    "a BMP of 2^31 a side": lambda: b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 2**31 - 1, 2**31 - 1, 1, 24, 0, 0, 1, 1, 0, 0),
    "a PPM of 10^9 a side": lambda: b"P6\n1000000000 1000000000\n255\n" + bytes(99),
    "a PPM of a million digits": lambda: b"P6\n" + b"9" * 10**6 + b" 48\n255\n",
    "a JPEG 2000 of 2^32 a side": lambda: b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 \0\0\0\0jp2 \0\0\0-jp2h\0\0\0\x16ihdr" + b"\xff" * 8 + b"\0\3\7\7\0\0",
    "an AVIF of nothing": lambda: b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miafMA1B" + bytes(200),
    "a HEIC of nothing": lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200),
    "a film": lambda: b"\0\0\0\x18ftypisom\0\0\0\0isomiso2" + bytes(200),
    "an SVG": _SVG,
    "an SVG behind spaces": b"\n" * 2000 + _SVG,
    "a PDF": b"%PDF-1.7\n1 0 obj<</OpenAction<</S/JavaScript/JS(app.alert(1))>>>>endobj",
    "an EPS": _EPS,
    "an EPS with a binary head": b"\xc5\xd0\xd3\xc6" + struct.pack("<IIIIII", 30, len(_EPS), 0, 0, 0, 0) + b"\0\0" + _EPS,
    "a DDS": lambda: b"DDS |\0\0\0" + struct.pack("<III", 0x1007, 2**20, 2**20) + bytes(112),
    "a PSD": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 30_000, 30_000, 8, 3) + bytes(50),
    "an ICO": b"\0\0\1\0\1\0" + struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, 2**31, 22),
    "a WMF": b"\xd7\xcd\xc6\x9a" + bytes(60),
    "a FITS": b"SIMPLE  =                    T" + b" " * 2850,
    "an ICNS": b"icns" + struct.pack(">I", 2**31) + bytes(20),
    "a FLI": b"\0\0\0\0\x11\xaf\xff\xff" + bytes(200),
    "a picture of Photo CD": bytes(2048) + b"PCD_IPI" + bytes(2000),
    "XPM": b'/* XPM */\nstatic char *a[] = {"64 48 2 1", "a c #000000", "b c #ffffff",',
    "a script": b"#!/bin/sh\ntouch mark\n",
    "a program": b"\x7fELF\2\1\1" + bytes(200),
    "a QOI of 2^32 a side": lambda: b"qoif" + b"\xff" * 8 + b"\3\0" + bytes(20),
    "an SGI of 65,535 a side": lambda: b"\x01\xda\1\1\0\3\xff\xff\xff\xff\0\3" + bytes(600),
    "a TGA of 65,535 a side": lambda: b"\0\0\x0a\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff\x18\0" + b"\xff\0\0\0" * 20,
    "a PCX of 65,535 a side": lambda: b"\x0a\5\1\x08\0\0\0\0\xff\xff\xff\xff" + bytes(53) + b"\3\xff\xff" + bytes(60),
    "an EXR of 2^31 a side": lambda: _exr(),
    "an EXR cut off": b"\x76\x2f\x31\x01\2\0\0\0channels\0chlist\0",
}  # fmt: skip


def _gif(count: int) -> bytes:
    frame = b"!\xf9\4\0\0\0\0\0,\0\0\0\0\x40\0\x30\0\0\x02\x02D\x01\0"
    return b"GIF89a\x40\0\x30\0\x80\0\0\0\0\0\xff\xff\xff" + frame * count + b";"


def _exr() -> bytes:
    def entry(name: bytes, kind: bytes, data: bytes) -> bytes:
        return name + b"\0" + kind + b"\0" + struct.pack("<I", len(data)) + data

    box = struct.pack("<iiii", 0, 0, 2**31 - 2, 2**31 - 2)
    channels = (
        b"".join(name + b"\0" + struct.pack("<iBBBBii", 1, 0, 0, 0, 0, 1, 1) for name in (b"B", b"G", b"R")) + b"\0"
    )
    head = b"".join((
        entry(b"channels", b"chlist", channels), entry(b"compression", b"compression", b"\0"),
        entry(b"dataWindow", b"box2i", box), entry(b"displayWindow", b"box2i", box),
        entry(b"lineOrder", b"lineOrder", b"\0"), entry(b"pixelAspectRatio", b"float", struct.pack("<f", 1)),
        entry(b"screenWindowCenter", b"v2f", bytes(8)), entry(b"screenWindowWidth", b"float", struct.pack("<f", 1)),
    ))  # fmt: skip
    return b"\x76\x2f\x31\x01\2\0\0\0" + head + b"\0" + bytes(64)


def _photo(place: Place, data: bytes | Callable[[], bytes]) -> None:
    put(place.input / "images/0.png", data if isinstance(data, bytes) else data())


CASES.each("fit", "scene", {f"{name} as a photo": data for name, data in _PHOTOS.items()}, _photo)

_AMONG = (
    "a PNG of 10^10 pixels",
    "a PNG of 900 megapixels that are there",
    "an EPS",
    "an SVG",
    "a JPEG cut off",
    "a GIF of 10^5 pictures",
)
CASES.each("rgb", "photos", {f"{name} among photos to prepare": _PHOTOS[name] for name in _AMONG},
           lambda place, data: put(place.input / "0.png", data if isinstance(data, bytes) else data()))  # fmt: skip
CASES.each("poses", "photos", {f"{name} among photos without poses": _PHOTOS[name] for name in _AMONG},
           lambda place, data: put(place.input / "0.png", data if isinstance(data, bytes) else data()))  # fmt: skip

_DEPTHS: dict[str, Callable[[], bytes]] = {
    "of 1 bit": lambda: _png(_ihdr(depth=1, color=0), (b"IDAT", zlib.compress(bytes(9 * 48))), _IEND),
    "of 8 bits": lambda: _saved("PNG", np.full((48, 64), 9, np.uint8)),
    "of colours": lambda: _saved("PNG"),
    "of a palette": lambda: _png(_ihdr(color=3), (b"PLTE", bytes(6)), (b"IDAT", zlib.compress(bytes(65 * 48))), _IEND),
    "of 900 megapixels": lambda: big_png(30_000, 30_000),
    "of zeros": lambda: _saved("PNG", np.zeros((48, 64), np.uint16)),
    "of 65,535": lambda: _saved("PNG", np.full((48, 64), 65535, np.uint16)),
    "of text": lambda: b"1.0 2.0 3.0\n" * 48,
    "of a film of floats": lambda: _saved("TIFF", np.full((48, 64), np.nan, np.float32)),
}
CASES.each("prepare", "frames", {f"a depth map {name}": make for name, make in _DEPTHS.items()},
           lambda place, make: put(place.input / "one/depth/0.png", make()))  # fmt: skip

_MASKS: dict[str, Callable[[], bytes]] = {
    "of text": lambda: b"1 0 1 0\n" * 48,
    "of zeros": lambda: _saved("PNG", np.zeros((48, 64), np.uint8)),
    "of 900 megapixels": lambda: big_png(30_000, 30_000),
    "of another size": lambda: _saved("PNG", np.full((500, 3), 255, np.uint8)),
    "of PostScript": lambda: _EPS,
}
CASES.each("fit", "scene", {f"a mask {name}": make for name, make in _MASKS.items()},
           lambda place, make: put(place.input / "masks/0.png", make()))  # fmt: skip


def _same(place: Place, change: Callable[[bytes], bytes]) -> None:
    """Spoil what surrounds the pixels of a JPEG; the pixels stay."""
    path = place.input / "images/1.jpg"
    put(path, change(path.read_bytes()))


def _segment(data: bytes, marker: bytes, content: bytes) -> bytes:
    return data[:2] + b"\xff" + marker + struct.pack(">H", len(content) + 2) + content + data[2:]


_AROUND: dict[str, Callable[[bytes], bytes]] = {
    "with a zip behind its end": lambda data: data + b"PK\3\4" + bytes(500),
    "with EXIF of 5,000 entries": lambda data: _segment(data, b"\xe1", _exif(5000)),
    "with EXIF that points to itself": lambda data: _segment(data, b"\xe1", b"Exif\0\0II*\0\x08\0\0\0\1\0\x69\x87\4\0\1\0\0\0\x08\0\0\0" + bytes(4)),
    "with an orientation of 77": lambda data: _segment(data, b"\xe1", b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\x01\3\0\1\0\0\0\x4d\0\0\0" + bytes(4)),
    "with a profile of noise": lambda data: _segment(data, b"\xe2", b"ICC_PROFILE\0\1\1" + bytes(range(256)) * 200),
    "with a comment of escape sequences": lambda data: _segment(data, b"\xfe", b"\x1b[2J\x1b]0;x\x07" * 900),
}  # fmt: skip
CASES.each("fit", "scene", {f"a JPEG {name}": change for name, change in _AROUND.items()}, _same)
