"""Write a folder of arrays to train a prior on: `arrays.json`, `train-*.npy` and `held-*.npy`.

Each file is written under a temporary name and renamed, `arrays.json` as the last, so a folder that has it is complete.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from scorereg._io import hold_folder, write_beside

__all__ = ["check_new", "write_arrays"]

_PER_FILE = 64 * 2**20  # bytes


def check_new(out: Path) -> None:
    """Create a folder for arrays; remove files that an interrupted run left there.

    Raises:
        OSError: If it cannot be made.
        ValueError: If it holds finished arrays.
    """
    if (out / "arrays.json").exists():
        raise ValueError(f"{out} holds arrays already. Choose another --out, or remove it.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"{out} cannot be made ({error.strerror or error}). Choose another --out.") from None
    for kind in ("train", "held", "known-train", "known-held"):
        for left in (*out.glob(f"{kind}-*.npy*"), *out.glob(f".{kind}-*.npy.new")):
            left.unlink()


def write_arrays(out: Path, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> dict[str, int]:
    """Write arrays [N, ...] in files of about 64 MiB each, and then `arrays.json`.

    Args:
        out: A folder of `check_new`.
        arrays: Arrays by name: `"train"` and `"held"`, and others with a row for each of theirs, like `"known-train"`.
        facts: Content of `arrays.json`; `counts` is added.

    Returns:
        Number of rows of each array.

    Raises:
        OSError: If a file cannot be written, or another run holds the folder.
        ValueError: If an array is empty or not finite, or the folder holds finished arrays by now.
    """
    with hold_folder(out):
        if (out / "arrays.json").exists():
            raise ValueError(f"{out} holds arrays already, of another run. Choose another --out, or remove it.")
        for name, array in arrays.items():
            if not len(array) or not np.isfinite(array.ravel()[:: max(array.size // 1_000_000, 1)]).all():
                raise ValueError(f"the {name} part is empty or not finite: {len(array)} examples. Give more data.")
            rows = max(_PER_FILE // max(array[0].nbytes, 1), 1)
            for number, start in enumerate(range(0, len(array), rows)):
                _write(out / f"{name}-{number:05d}.npy", array[start : start + rows])
        counts = {name: len(array) for name, array in arrays.items()}
        text = json.dumps({**facts, "counts": counts}, indent=2) + os.linesep
        write_beside(out / "arrays.json", lambda path: path.write_text(text, encoding="utf-8"))
        return counts


def _write(path: Path, array: np.ndarray) -> None:
    def write(beside: Path) -> None:
        with beside.open("wb") as file:
            np.save(file, array, allow_pickle=False)

    write_beside(path, write)
