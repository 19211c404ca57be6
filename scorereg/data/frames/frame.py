"""One frame of a data set: its files and its camera, and the arrays that are read from them.

color     photo, of any kind that `files.images` reads
depth     planar z in units of `unit` metres, of any kind that `files.depth` reads, which says what is unknown
maps      any further map with values at each pixel: PNG of 8 or 16 bits, [0, max] standing for [-1, 1], or .npy
with values in [-1, 1], NaN where unknown
"""

import dataclasses
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scorereg.data.channels import COLOR, DEPTH
from scorereg.files.depth import depth_size
from scorereg.files.images import ImageHead, alike, orient, read_head
from scorereg.files.lens import is_bent
from scorereg.files.plausible import odd_lens
from scorereg.files.view import Lens, View

__all__ = ["Frame", "Planes", "common_size", "frame_of"]

_LATER = ("upright", "bent", "size")  # fields that shards written before do not know; shown where they say something


@dataclass(frozen=True)
class Frame:
    """Files and camera of one view.

    Args:
        scene: Name of the folder that it is in, with the parent folder's.
        color: The photo; None where there is none.
        depth: The depth map; None where there is none.
        focal: Horizontal and vertical focal length, in pixels of what `read_frame` returns; None where unknown.
        unit: Metres per unit of the depth map.
        maps: Names and files of further maps.
        lens: Hypersim's `M_cam_from_uv`, row by row; depth is then the distance along rays.
        split: `"train"`, `"val"` or `"test"`, if the data were published with a split.
        resize: Reduce the photo to the depth map's size, also where depth is not read.
        shared: The focal length is that of the whole folder, so all its photos must have one size.
        reader: Reads the frame's maps, where its files need a reader of their own. Left out of the representation,
            which is part of the plan of a shard.
        upright: Turn the photo as its EXIF says.
        bent: Lens whose distortion is to be removed; None for a pinhole.
        size: Width and height that photo, depth and maps are brought to, where they differ; `common_size`, if not
            given.
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
    upright: bool = True
    bent: Lens | None = None
    size: tuple[int, int] | None = None

    def __repr__(self) -> str:
        shown = [f for f in dataclasses.fields(self) if f.repr]
        shown = [f for f in shown if f.name not in _LATER or getattr(self, f.name) != f.default]
        return f"Frame({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in shown)})"

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


def frame_of(view: View, scene: str, maps: tuple[str, ...] = (COLOR, DEPTH)) -> Frame:
    """Make a frame to train on out of what a folder says of a photo; only the headers of its files are read.

    A file whose header is damaged is reported when the frame is read.

    Focal lengths are scaled from the size that the lens is for to that of the pixels. Where the depth map is smaller
    than the photo the photo is reduced to it, as real depth is not invented; where it is larger the nearest depth is
    taken. The size that the lens is for decides whether EXIF turns the photo.

    Args:
        view: Files and lens.
        scene: Name of its folder.
        maps: Names of the maps that will be read; depth that is not does not reduce the photo.

    Raises:
        ValueError: If photo, depth map and lens differ in proportions.
    """
    lens, upright = view.lens, True
    reads_depth = DEPTH in maps or ("normal" in maps and "normal" not in dict(view.maps))
    depth = _header(depth_size, view.depth) if reads_depth or view.resize else None
    head = _header(read_head, view.color) if COLOR in maps or (lens is not None and lens.size is None) else None
    if head is not None and view.color is not None:
        upright = _is_upright(view.color, head, lens, depth)
    photo = None if head is None else head.upright if upright else head.stored
    if photo and depth and not alike(photo, depth):
        raise ValueError(
            f"{view.color} has {photo[0]}x{photo[1]} pixels, but its depth map {depth[0]}x{depth[1]}, of other "
            "proportions: they do not show the same. Cut both to one field of view."
        )
    size = common_size(photo if COLOR in maps or depth is None else None, depth)
    focal = None if lens is None else lens.focal
    if lens is not None and size is not None:
        own = lens.size or (depth if view.resize else photo) or size
        if not alike(own, size):
            raise ValueError(
                f"{view.file} has {size[0]}x{size[1]} pixels, but its lens is for {own[0]:g}x{own[1]:g}, of other "
                "proportions. Correct the size, or cut the picture."
            )
        focal = lens.focal[0] * (size[0] / own[0]), lens.focal[1] * (size[1] / own[1])
        if warning := odd_lens(view.file, focal, (float(size[0]), float(size[1])), fisheye=lens.model == "fisheye"):
            warnings.warn(warning, stacklevel=2)
    return Frame(
        scene, view.color, view.depth, focal, view.unit, view.maps, None, view.split, view.resize, view.shared,
        upright=upright, bent=lens if lens is not None and is_bent(lens) else None,
        size=size if photo and depth and photo != depth else None,
    )  # fmt: skip


def _header(read: Callable[[Path], Any], path: Path | None) -> Any:
    """What a file's header says; None if it cannot be read, which is reported when its pixels are."""
    try:
        return None if path is None else read(path)
    except (OSError, ValueError):
        return None


def _is_upright(path: Path, head: ImageHead, lens: Lens | None, depth: tuple[int, int] | None) -> bool:
    """Whether a photo is turned as EXIF says: by the lens's size, or else by the side that the depth map has up."""
    if lens is not None and lens.size is not None:
        return alike(head.upright, lens.size) or orient(path, head, lens.size)
    return depth is None or alike(head.upright, depth) or not alike(head.stored, depth)


def common_size(photo: tuple[int, int] | None, depth: tuple[int, int] | None) -> tuple[int, int] | None:
    """Width and height that photo and depth map are brought to: the depth map's, if it is not the larger."""
    if photo is None or depth is None:
        return photo or depth
    return depth if depth[0] <= photo[0] and depth[1] <= photo[1] else photo


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
