"""One frame of a data set: its files and its camera, and the arrays that are read from them.

color     photo, 8 bits per channel
depth     planar z in integer units of `unit` metres; 0 and 65535 mean no measurement
maps      any further map with values at each pixel: PNG of 8 or 16 bits, [0, max] standing for [-1, 1], or .npy
with values in [-1, 1], NaN where unknown
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

__all__ = ["Frame", "Planes"]


@dataclass(frozen=True)
class Frame:
    """Files and camera of one view.

    Args:
        scene: Name of the folder that it is in, with the parent folder's.
        color: The photo; None where there is none.
        depth: The depth map, of the photo's size; None where there is none.
        focal: Horizontal and vertical focal length, in pixels; None where unknown.
        unit: Metres per unit of the depth map.
        maps: Names and files of further maps.
        lens: Hypersim's `M_cam_from_uv`, row by row; depth is then the distance along rays.
        split: `"train"`, `"val"` or `"test"`, if the data were published with a split.
        resize: Reduce the photo to the depth map's size, where the two are stored at different ones.
        shared: The focal length is that of the whole folder, so all its photos must have one size.
        reader: Reads the frame's maps, where its files need a reader of their own. Left out of the representation,
            which is part of the plan of a shard.
    """

    scene: str
    color: Path | None
    depth: Path | None
    focal: tuple[float, float] | None
    unit: float = 0.001
    maps: tuple[tuple[str, Path], ...] = ()
    lens: tuple[float, ...] | None = None
    split: str | None = None
    resize: bool = False
    shared: bool = False
    reader: Callable[["Frame", tuple[str, ...]], "Planes"] | None = field(default=None, repr=False)

    @property
    def file(self) -> Path:
        """The file that errors name: the photo, or else the depth map."""
        path = self.color or self.depth
        assert path is not None, "a frame has a photo or a depth map"
        return path

    def factors(self, focal: float) -> tuple[float, float]:
        """Scale factors of rows and columns that give a focal length in pixels; at most 1, so nothing is enlarged."""
        across, down = self.focal or (focal, focal)
        return min(focal / down, 1.0), min(focal / across, 1.0)


@dataclass(frozen=True)
class Planes:
    """Maps of a frame as float32 arrays of one size.

    Args:
        color: `[h, w, 3]`, 0 to 255.
        metres: `[h, w]`, planar depth, NaN where unknown.
        maps: `[h, w, k]` by name, in [-1, 1], NaN where unknown.
    """

    color: np.ndarray | None = None
    metres: np.ndarray | None = None
    maps: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        first = next(p for p in (self.color, self.metres, *self.maps.values()) if p is not None)
        return first.shape[0], first.shape[1]
