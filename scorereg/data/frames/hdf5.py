"""One dataset of an HDF5 file, which may name no other file and be no larger than its own file explains."""

from pathlib import Path
from typing import Any

import numpy as np

from scorereg.files.pixels import Refused, check_pixels
from scorereg.files.sniff import first_bytes

__all__ = ["read_dataset"]

_GROWTH = 1100  # deflate packs 1032 to 1 at most


def read_dataset(path: Path, dims: int) -> np.ndarray:
    """Return the numbers under `dataset`.

    Args:
        path: The file.
        dims: Number of axes that they must have.

    Raises:
        OSError: If it cannot be read.
        ValueError: If there are none, of another shape, in another file, or more than the file can hold.
    """
    try:
        import h5py
    except ImportError:
        raise ValueError("Hypersim's files are HDF5, which needs h5py: pip install 'scorereg[hypersim]'") from None
    first_bytes(path)
    try:
        with h5py.File(path, "r") as file:
            _check_dataset(path, file.get("dataset", getlink=True), file, dims)
            value = np.asarray(file["dataset"])
    except Refused:
        raise
    except Exception as error:  # a binding of C raises anything
        words = " ".join(str(error).split())[:160] or type(error).__name__
        raise OSError(f"{path} cannot be read as HDF5 ({words}). Download it again or leave the frame out.") from None
    return value


def _check_dataset(path: Path, link: Any, file: Any, dims: int) -> None:
    """Refuse a dataset that lies in another file, or is larger than its file explains, before it is read."""
    import h5py

    if not isinstance(link, h5py.HardLink):
        raise Refused(f"{path} holds a link in place of its dataset. Download it again.")
    found = file["dataset"]
    if not isinstance(found, h5py.Dataset) or found.dtype.kind not in "iuf":
        raise Refused(f"{path} holds no numbers under `dataset`. Download it again.")
    if found.external or found.is_virtual:
        raise Refused(f"{path} names another file for its values, which is not read. Download it again.")
    if len(found.shape) != dims:
        raise Refused(f"{path} has shape {found.shape}, but {dims} dimensions were expected.")
    check_pixels(path, found.shape[1::-1])
    if found.nbytes > _GROWTH * path.stat().st_size:
        raise Refused(f"{path} promises {found.nbytes} bytes, which cannot be in it. Download it again.")
