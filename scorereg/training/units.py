"""Depth in the wrong unit, seen by its range."""

import math
from collections import defaultdict

__all__ = ["DepthRange", "check_unit"]

_NEAREST, _FARTHEST = 0.05, 100.0  # metres; the median of no scene lies outside
_USUAL = 2.5
_FACTORS = {
    1e-3: "millimetres read as metres",
    1e3: "metres read as millimetres",
    1e-2: "centimetres read as metres",
    1e2: "metres read as centimetres",
    1 / 5000: "units of 1/5000 m (TUM RGB-D) read as metres",
    5000.0: "metres read as units of 1/5000 m (TUM RGB-D)",
}


class DepthRange:
    """Medians of the depth of frames, scene by scene."""

    def __init__(self) -> None:
        self._medians: dict[str, list[float]] = defaultdict(list)

    def see(self, scene: str, median: float) -> None:
        """Add the median depth of a frame, in metres."""
        self._medians[scene].append(median)

    def check(self) -> None:
        """Refuse a scene whose depth cannot be in metres.

        Raises:
            ValueError: If there is one; it names the factor that depth should be multiplied by.
        """
        for scene, medians in self._medians.items():
            check_unit(sorted(medians)[len(medians) // 2], scene)


def check_unit(median: float, scene: str) -> None:
    """Refuse a median depth that cannot be in metres, with the factor that would mend it.

    Raises:
        ValueError: If it lies outside 0.05 to 100.
    """
    if _NEAREST <= median <= _FARTHEST:
        return
    factor = min(_FACTORS, key=lambda f: abs(math.log(median * f / _USUAL)))
    raise ValueError(
        f"depth in {scene} has a median of {median:.3g} m, which cannot be: it looks like {_FACTORS[factor]}. Multiply "
        f"the depth unit by {factor:g} (in the scene's JSON, or by --depth-factor {factor:g})."
    )
