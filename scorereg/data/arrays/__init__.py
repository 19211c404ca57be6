"""Folders of arrays, `arrays.json` and `.npy` files: reading and writing."""

from scorereg.data.arrays.source import ArraySource, open_arrays
from scorereg.data.arrays.write import check_new, write_arrays

__all__ = ["ArraySource", "check_new", "open_arrays", "write_arrays"]
