"""Pictures written byte by byte, where Pillow cannot write them or would hide what is stored."""

import struct
import zlib
from pathlib import Path

import numpy as np

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of PNG's kinds of colour


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def write_png(path: Path, value: np.ndarray, kind: int, *, bits: int = 16, extra: bytes = b"") -> Path:
    """Write `[h, w]` or `[h, w, k]` as PNG of 8 or 16 bits."""
    height, width = value.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2" if bits == 16 else np.uint8).tobytes() for row in value)
    return write_rows(path, rows, (width, height), kind, bits, extra)


def write_rows(path: Path, rows: bytes, size: tuple[int, int], kind: int, bits: int, extra: bytes = b"") -> Path:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, bits, kind, 0, 0, 0))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    )
    return path


def write_blank(path: Path, size: tuple[int, int]) -> Path:
    """Write a white PNG of 1 bit; 200 megapixels of it have 25 kB."""
    row = b"\0" + b"\xff" * (-(-size[0] // 8))
    return write_rows(path, row * size[1], size, 0, 1)


def write_tiff(path: Path, value: np.ndarray, tags: dict[int, tuple[int, ...]]) -> Path:
    """Write an uncompressed little-endian TIFF of one strip; `tags` are short integers beside the size."""
    data = value.astype(value.dtype.newbyteorder("<")).tobytes()
    height, width = value.shape[:2]
    entries = {256: (width,), 257: (height,), 259: (1,), 273: (8,), 278: (height,), 279: (len(data),), **tags}
    after = 8 + len(data) + 2 + 12 * len(entries) + 4
    table, beyond = b"", b""
    for tag in sorted(entries):
        kind, code = ("I", 4) if tag in (273, 279) else ("H", 3)
        content = struct.pack(f"<{len(entries[tag])}{kind}", *entries[tag])
        if len(content) > 4:
            content, beyond = struct.pack("<I", after + len(beyond)), beyond + content
        table += struct.pack("<HHI", tag, code, len(entries[tag])) + content.ljust(4, b"\0")
    head = b"II*\0" + struct.pack("<I", 8 + len(data))
    path.write_bytes(head + data + struct.pack("<H", len(entries)) + table + struct.pack("<I", 0) + beyond)
    return path
