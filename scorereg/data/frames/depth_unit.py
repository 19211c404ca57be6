"""Detection of depth in the wrong unit, by the median depth of a scene."""

import math
import warnings
from collections import defaultdict

import numpy as np

__all__ = ["DepthRange", "check_unit"]

_NEAREST, _FARTHEST = 0.05, 100.0  # metres; no scene has its median outside
_USUAL = 2.5
_RARE = (0.4, 8.0)  # metres; a room's median lies within, a street's does not
_FACTORS = {
    1e-3: "millimetres read as metres",
    1e3: "metres read as millimetres",
    1e-6: "units per metre given for metres per unit",
    1e-2: "centimetres read as metres",
    1e2: "metres read as centimetres",
    1 / 5000: "units of 1/5000 m (TUM RGB-D) read as metres",
    5000.0: "metres read as units of 1/5000 m (TUM RGB-D)",
    0.2: "units of 1/5000 m (TUM RGB-D) read as millimetres",
    5.0: "millimetres read as units of 1/5000 m (TUM RGB-D)",
    0.1: "units of 1/10000 m read as millimetres",
    10.0: "centimetres read as millimetres",
}


class DepthRange:
    """Collects the median depth of frames, by scene."""

    def __init__(self) -> None:
        self._medians: dict[str, list[float]] = defaultdict(list)

    def add(self, scene: str, metres: np.ndarray | None) -> None:
        """Add a frame's depth map, in metres, NaN where unknown; nothing if it has none."""
        if metres is not None:
            self._medians[scene].append(float(np.nanmedian(metres)))

    def check(self) -> None:
        """Raise if the depth of a scene cannot be in metres; warn if it is unusual for a room.

        Raises:
            ValueError: If there is such a scene; the error proposes a factor for the depth unit.
        """
        middle = {scene: sorted(medians)[len(medians) // 2] for scene, medians in self._medians.items()}
        for scene, median in middle.items():
            check_unit(median, scene)
        rare = [scene for scene, median in middle.items() if not _RARE[0] <= median <= _RARE[1]]
        if rare:
            factor = _factor(middle[rare[0]])
            warnings.warn(
                f"depth in {rare[0]} has a median of {middle[rare[0]]:.3g} m ({len(rare)} of {len(middle)} scenes are "
                f"nearer or farther than rooms). If that is not so, it may be {_FACTORS[factor]}: --depth-factor "
                f"{factor:g}, or a factor on the unit in the scene's JSON.",
                stacklevel=2,
            )


def check_unit(median: float, scene: str) -> None:
    """Raise if a median depth, in metres, is outside 0.05 to 100.

    Raises:
        ValueError: With the factor that would bring it to that of a room.
    """
    if _NEAREST <= median <= _FARTHEST:
        return
    factor = _factor(median)
    raise ValueError(
        f"depth in {scene} has a median of {median:.3g} m, which cannot be: it looks like {_FACTORS[factor]}. Multiply "
        f"the depth unit by {factor:g} (in the scene's JSON, or by --depth-factor {factor:g})."
    )


def _factor(median: float) -> float:
    """Return the factor that brings a median nearest to that of a room."""
    return min(_FACTORS, key=lambda f: abs(math.log(median * f / _USUAL)))
