"""NumPy's files, `.npy` and `.npz`, from strangers: no pickle, and no memory beyond what the file's size explains."""

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from scorereg.files.pixels import Refused
from scorereg.files.sniff import first_bytes

__all__ = ["npy_shape", "read_npy", "read_npz"]

_MOST = 1 << 31  # bytes of an array in an archive: 256 megapixels of 64 bits


def read_npy(path: Path) -> np.ndarray:
    """Read the array of a `.npy` file.

    Raises:
        OSError: If it is missing or cannot be opened.
        ValueError: If it is no such file, shorter than its header says, or holds Python objects.
    """
    first_bytes(path)
    with path.open("rb") as file:
        return _read(file, path.stat().st_size, str(path))


def npy_shape(path: Path) -> tuple[int, ...]:
    """Read the shape of a `.npy` file's array, from its header.

    Raises:
        OSError: If it is missing or cannot be opened.
        ValueError: If it is no such file, or holds Python objects.
    """
    first_bytes(path)
    with path.open("rb") as file:
        return _header(file, str(path))[0]


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Read all arrays of an `.npz` file, by name.

    Raises:
        OSError: If it is missing or cannot be opened.
        ValueError: If it is no such file, damaged, or holds Python objects.
    """
    first_bytes(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist() if not info.is_dir()}
            return {name: _member(archive, info, f"{path}, array {name}") for name, info in members.items()}
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is no NumPy archive, or is truncated ({error}). Copy it again.") from None


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> np.ndarray:
    if info.file_size > min(_MOST, 1100 * info.compress_size + 1000):  # deflate packs 1032 to 1 at most
        raise Refused(f"{name} says that it has {info.file_size} bytes, which cannot be. Copy the file again.")
    try:
        with archive.open(info) as file:
            return _read(file, info.file_size, name)
    except Refused:
        raise
    except Exception as error:  # zlib, bz2, lzma and zipfile have errors without a common base
        raise Refused(f"{name} is damaged or encrypted ({_words(error)}). Copy the file again.") from None


def _read(file: Any, size: int, name: str) -> np.ndarray:
    """Read an array from an open file; its header must agree with the size of what there is."""
    shape, fortran, dtype = _header(file, name)
    count = math.prod(shape)
    data = file.read(count * dtype.itemsize) if 0 <= min(shape, default=0) and count * dtype.itemsize <= size else b""
    if len(data) != count * dtype.itemsize:
        raise Refused(f"{name} is truncated: its header says {shape} of {dtype}. Copy the file again.")
    array = np.frombuffer(data, dtype, count)
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


def _header(file: Any, name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether columns come first, and type of an array."""
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except Exception as error:  # numpy evaluates the header as Python's literals, with all their errors
        raise Refused(f"{name} is no array of numbers that NumPy can read ({_words(error)}). Write it again.") from None
    if dtype.hasobject or not dtype.itemsize:
        raise Refused(f"{name} holds Python objects, which are not read. Write an array of numbers.")
    return shape, fortran, dtype


def _words(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120].rstrip(".")
