"""NumPy's files, `.npy` and `.npz`, from strangers: no pickle, and no memory beyond what the file's size explains."""

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from scorereg.files.sniff import first_bytes

__all__ = ["read_npy", "read_npz"]

_MOST = 1 << 34  # bytes of an array in an archive


def read_npy(path: Path) -> np.ndarray:
    """Read the array of a `.npy` file.

    Raises:
        OSError: If it is missing or cannot be opened.
        ValueError: If it is no such file, shorter than its header says, or holds Python objects.
    """
    first_bytes(path)
    with path.open("rb") as file:
        return _read(file, path.stat().st_size, str(path))


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
        raise ValueError(f"{name} says that it has {info.file_size} bytes, which cannot be. Copy the file again.")
    try:
        with archive.open(info) as file:
            return _read(file, info.file_size, name)
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        raise ValueError(f"{name} is damaged or encrypted ({error}). Copy the file again.") from None
    except Exception as error:  # zlib.error and its kin, which share no base
        if isinstance(error, ValueError):
            raise
        raise ValueError(f"{name} is damaged ({error}). Copy the file again.") from None


def _read(file: IO[bytes], size: int, name: str) -> np.ndarray:
    """Read an array whose header must agree with the file's size."""
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
        if dtype.hasobject:
            raise ValueError("it holds Python objects, which are not read")
    except Exception as error:  # numpy evaluates the header as Python's literals, with all their errors
        raise ValueError(
            f"{name} is no array of numbers that NumPy can read ({_words(error)}). Write it again."
        ) from None
    count = math.prod(shape)
    if min(shape, default=1) < 0 or count * dtype.itemsize > size:
        raise ValueError(f"{name} is truncated: its header says {shape} of {dtype}. Copy the file again.")
    data = file.read(count * dtype.itemsize)
    if len(data) != count * dtype.itemsize:
        raise ValueError(f"{name} is truncated: its header says {shape} of {dtype}. Copy the file again.")
    array = np.frombuffer(data, dtype, count)
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


def _words(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120].rstrip(".")
