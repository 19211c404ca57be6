"""What the files of a folder say of each photo, before any pixel is read: `View`, its `Lens`, and their `Listing`.

A layout (`files.layouts`) makes a `Listing` out of a folder; scenes and training data are both made of it. Nothing in
it is converted or scaled: lengths are in the folder's own unit and float64, pixels are those of the size that the file
names.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

__all__ = ["Lens", "Listing", "View"]


@dataclass(frozen=True)
class Lens:
    """Intrinsics of a photo, in pixels of an image of `size`.

    Args:
        focal: fx, fy.
        center: cx, cy, measured from the corner of the first pixel; None for the middle of the image.
        distortion: Of `"brown"`: k1, k2, p1, p2, k3 and perhaps k4, k5, k6, in OpenCV's order, and after them the
            factor of r^8 that nerfstudio calls k4; of `"fisheye"`, OpenCV's equidistant model: k1, k2, k3, k4; empty
            for `"pinhole"`.
        model: Kind of the lens.
        size: Width and height that the numbers are for; None for those of the photo's file.
    """

    focal: tuple[float, float]
    center: tuple[float, float] | None = None
    distortion: tuple[float, ...] = ()
    model: Literal["pinhole", "brown", "fisheye"] = "pinhole"
    size: tuple[float, float] | None = None


@dataclass(frozen=True)
class View:
    """Files, lens and pose of one photo.

    Args:
        color: The photo; None where there is a depth map alone.
        depth: The depth map; None where there is none.
        mask: Image that says which pixels count; None where there is none.
        object_mask: Image that says which pixels show the object that the photos are of; the others count too.
        maps: Names and files of further maps.
        lens: None where unknown.
        pose: World-from-camera, a 3x4 matrix row by row: axes right, down, forward (OpenCV's), in the folder's unit;
            None where unknown.
        unit: Metres per unit of the depth map.
        bounds: Near and far of what the photo shows, in the folder's unit; None where unknown.
        split: `"train"`, `"val"` or `"test"`, if the folder says so.
        mask_marks: What the mask's pixels above 0 mark: `"kept"` (nerfstudio) or `"left out"` (instant-ngp) pixels.
        shared: The lens is given once for the whole folder, so all its photos must have one size.
        resize: Reduce the photo to the depth map's size, with the lens of the depth map.
    """

    color: Path | None
    depth: Path | None = None
    mask: Path | None = None
    maps: tuple[tuple[str, Path], ...] = ()
    lens: Lens | None = None
    pose: tuple[float, ...] | None = None
    unit: float = 0.001
    bounds: tuple[float, float] | None = None
    split: str | None = None
    mask_marks: Literal["kept", "left out"] = "kept"
    shared: bool = False
    resize: bool = False
    object_mask: Path | None = None

    @property
    def file(self) -> Path:
        """The file that errors name: the photo, or else the depth map."""
        path = self.color or self.depth
        assert path is not None, "a view has a photo or a depth map"
        return path

    @property
    def matrix(self) -> np.ndarray:
        """The pose as float64, 3x4."""
        assert self.pose is not None, "asked of views with a pose only"
        return np.array(self.pose, np.float64).reshape(3, 4)


@dataclass(frozen=True)
class Listing:
    """The views of a folder.

    Args:
        source: The file or folder that they are listed in, which errors name.
        views: In order of their names.
        metric: Whether the unit of the poses is the metre; None where the folder does not say.
        points: File of sparse points in world coordinates: `.ply`, or COLMAP's `points3D.bin` or `.txt`.
        applied: Transformation, a 3x4 matrix row by row, from the coordinates of an earlier program to those of the
            poses, if the folder says that there was one: some writers leave the sparse points in the earlier ones.
        train: Positions of the views that the folder lists for training a scene, in its order; None if it has no list.
        test: Positions of the views that it holds out; None if it has no list.
        said: What was understood in a way that a user should know, one line each; they become warnings.
        axes: Axes of the cameras of such a folder, where people write its camera-to-world matrices themselves and may
            have taken others: `"opengl"` or `"opencv"`. None where a program wrote them.
        likely: Near and far of such a folder's scenes, in its unit, where nothing else tells them.
    """

    source: Path
    views: tuple[View, ...]
    metric: bool | None = None
    points: Path | None = None
    applied: tuple[float, ...] | None = None
    train: tuple[int, ...] | None = None
    test: tuple[int, ...] | None = None
    said: tuple[str, ...] = ()
    axes: Literal["opengl", "opencv"] | None = None
    likely: tuple[float, float] | None = None
