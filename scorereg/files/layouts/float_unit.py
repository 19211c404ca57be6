"""The unit of depth maps of floats, where a description does not state it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from scorereg.files.depth import read_depth
from scorereg.files.layouts.parsing import MILLIMETRE
from scorereg.files.view import View

__all__ = ["with_float_unit"]

_FLOATS = (".npy", ".npz", ".exr", ".pfm", ".tif", ".tiff")
_MOST_METRES = 100.0


def with_float_unit(views: Sequence[View], path: Path) -> tuple[list[View], tuple[str, ...]]:
    """Return views with the unit of their depth maps, and the line that tells it, for a description that states none.

    Depth is in millimetres, as nerfstudio has it, also in floats; but floats whose median (in the first map that can be
    read) is below 100 are metres, as nothing is photographed at a tenth of a millimetre to a tenth of a metre.

    Args:
        views: The views.
        path: The description.
    """
    floats = [view for view in views if view.depth and view.depth.suffix.lower() in _FLOATS]
    middle = next((value for view in floats if view.depth and (value := _median(view.depth)) is not None), None)
    if middle is None or middle >= _MOST_METRES:
        return list(views), ()
    changed = {id(view) for view in floats}
    line = (
        f"{path}: the unit of depth is not stated; its floats (median {middle:.3g}) are taken for metres. Write "
        "depth_unit_scale_factor."
    )
    return [replace(view, unit=1000 * MILLIMETRE) if id(view) in changed else view for view in views], (line,)


def _median(path: Path) -> float | None:
    """Median of the known depths; None if there are none, or the file cannot be read, which is told when it is used."""
    try:
        depth = read_depth(path, 1.0)
    except (OSError, ValueError):
        return None
    known = depth[np.isfinite(depth)]
    return float(np.median(known)) if known.size else None
