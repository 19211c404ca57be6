"""`load_scene`: load a folder of any known layout as a `Scene` in metres."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from scorereg.files import Listing
from scorereg.files.said import gathered
from scorereg.scenes.capture import Capture, read_capture
from scorereg.scenes.convention import better_convention
from scorereg.scenes.extent import Extent, extent_of_points, extent_of_views
from scorereg.scenes.focus import TYPICAL_DEPTH, wide_extent
from scorereg.scenes.folder import list_views
from scorereg.scenes.pixels import Alpha
from scorereg.scenes.scene import Scene, SceneSource
from scorereg.scenes.split import with_split

__all__ = ["load_scene"]

_SMALLEST = 7  # pixels, the window of SSIM
_APART = 8.0  # factor between depths from two sources
_ROOMS = 0.02, 500.0  # metres, outside of which no typical depth of a scene is
_FEW = 2  # training views, up to which photos need not tell near and far


def load_scene(
    path: str | Path,
    views: int = 3,
    *,
    scale: float | None = None,
    max_size: int | None = None,
    alpha: Alpha = "white",
    split: tuple[Sequence[int], Sequence[int]] | None = None,
    object_only: bool = False,
) -> Scene:
    """Load photos and cameras from a folder: nerfstudio, Blender, LLFF, COLMAP and others (`files.layouts.find`).

    The folder's own split is kept; else every 8th photo is held out, and none where there are no more photos than
    `views`. Distorted photos, fisheyes too, become those of a pinhole of the same focal length. Pixels that masks leave
    out, or that a distorted photo does not cover, are in `Scene.masks`.

    A scene with true depth, or with `"metric": true`, is in metres. Any other is scaled so that its typical depth
    becomes `TYPICAL_DEPTH`. The typical depth is the harmonic mean of the file's near and far, else the median depth of
    its sparse points, else the median of a plane sweep between the training photos. Near and far come from the same
    source, never from true depth, which is for evaluation. Where training photos do not tell them, those of the layout
    are taken if it has some (DTU), and for one or two photos a wide range about the point that all cameras look at,
    with a warning.

    Args:
        path: Folder of the scene.
        views: Number of training views, >= 1; spread evenly over those that the format allows for training.
        scale: Metres per unit of the file; found as above if not given.
        max_size: Largest side of the images in pixels, to which they are reduced by a whole factor; not if not given.
        alpha: What transparency is: `"white"`, or `"mask"`, pixels that do not count.
        split: Positions of the training views and of those held out, in place of `views` and of the folder's own split.
            Photos count from 0 in the order of the folder: by name, or as its file lists them.
        object_only: Fit only the pixels that show the object, where the folder has masks of it, as DTU has. If not,
            those masks are for evaluation alone (`Scene.objects`), and whole photos are fitted.

    Returns:
        The scene, with poses, depth, near and far multiplied by the scale.

    Raises:
        FileNotFoundError: If the folder, its poses or a file that they name is missing.
        ValueError: If an argument is out of its range, or a file cannot be used.
    """
    folder = Path(path)
    if scale is not None and not 0 < scale < float("inf"):
        raise ValueError(f"{folder}: scale is metres per unit of the file and must be above 0, but got {scale}.")
    if max_size is not None and max_size < 1:
        raise ValueError(f"{folder}: max_size is the longest side in pixels, at least 1, but max_size={max_size}.")
    if alpha not in get_args(Alpha):
        raise ValueError(f"{folder}: alpha (--alpha) must be white or mask, but is {alpha!r}.")
    listing = list_views(folder)
    chosen = None if split is None else (tuple(split[0]), tuple(split[1]))
    if split is not None:
        listing, views = with_split(listing, *split), len(split[0])
    with gathered():
        capture = read_capture(listing, folder, views, max_size=max_size, alpha=alpha, object_only=object_only)
    if min(capture.images.shape[1:3]) < _SMALLEST:
        height, width = capture.images.shape[1:3]
        raise ValueError(
            f"{folder}: photos of {width}x{height} pixels are too small; the shorter side "
            f"needs at least {_SMALLEST}. Give larger ones, or a larger max_size."
        )
    _check_convention(capture, listing, folder)
    extent, source = _extent(capture, folder)
    _check_depth(capture, extent, source, folder)
    factor, found = _scale(capture, extent, scale, folder)
    pose = capture.cameras.pose.clone()
    pose[:, :, 3] *= factor
    return Scene(
        name=folder.resolve().name,
        images=capture.images,
        cameras=replace(capture.cameras, pose=pose),
        depth=None if capture.depth is None else capture.depth * factor,
        train=capture.train,
        test=capture.test,
        near=extent.near * factor,
        far=extent.far * factor,
        scale=factor,
        metric=capture.metric,
        filenames=capture.filenames,
        scale_source=f"{found}; near and far from {source}",
        masks=capture.masks,
        offset=capture.offset,
        objects=capture.objects,
        source=SceneSource(str(folder.resolve()), views, max_size, alpha, chosen, object_only),
    )


def _extent(capture: Capture, path: Path) -> tuple[Extent, str]:
    """Near, far and typical depth, and where they are from."""
    train = list(capture.train)
    if capture.bounds is not None:
        return _with_margins(*capture.bounds), "the file's bounds"
    cameras = capture.cameras[train]
    try:
        if capture.points is not None and len(capture.points):
            return extent_of_points(capture.points, cameras, path=path), "sparse points"
        masks = None if capture.masks is None else capture.masks[train]
        return extent_of_views(capture.images[train], cameras, masks, path=path), "a plane sweep of the training photos"
    except ValueError:
        if capture.likely is not None:
            near, far = capture.likely
            warnings.warn(
                f"{path}: its training photos do not tell near and far, so they are those of its layout, {near:.3g} to "
                f"{far:.3g}.",
                stacklevel=4,
            )
            return _with_margins(near, far), "its layout, as the photos do not tell them"
        if len(train) > _FEW:
            raise
        extent, source = wide_extent(cameras.pose, capture.poses, metric=capture.metric)
        what = "1 training view does" if len(train) == 1 else f"{len(train)} training views do"
        warnings.warn(
            f"{path}: {what} not tell near and far, so they are a wide range about {source}, {extent.near:.3g} to "
            f"{extent.far:.3g}; write `near` and `far` (in the unit of the poses) into transforms.json to set them.",
            stacklevel=4,
        )
        return extent, f"{source}, as the photos do not tell them"


def _with_margins(near: float, far: float) -> Extent:
    return Extent(0.9 * near, 1.1 * far, 2 / (1 / near + 1 / far))


def _check_depth(capture: Capture, extent: Extent, source: str, path: Path) -> None:
    """Warn of depth maps in another unit than the poses: their median is far from what else tells depth."""
    if capture.depth is None:
        return
    known = capture.depth[list(capture.train)]
    known = known[known > 0]
    if not len(known):
        warnings.warn(
            f"{path}: the depth maps of its training photos hold no known depth: all is 0, negative or not finite. "
            "Write positive depth, or leave them out.",
            stacklevel=4,
        )
    if len(known) and not 1 / _APART < (median := known.median().item()) / extent.typical < _APART:
        warnings.warn(
            f"{path}: its depth maps have a median of {median:.3g} units of the poses, but by {source} it is about "
            f"{extent.typical:.3g}; check the unit of depth (depth_unit_scale_factor).",
            stacklevel=4,
        )


def _check_convention(capture: Capture, listing: Listing, path: Path) -> None:
    """Warn of poses in another convention, where people write them themselves."""
    if listing.axes is None:
        return
    train = list(capture.train)
    masks = None if capture.masks is None else capture.masks[train]
    if found := better_convention(capture.images[train], capture.cameras[train], masks, axes=listing.axes):
        usual = {"opengl": "OpenGL's axes, as transforms.json has", "opencv": "OpenCV's axes, as such folders have"}
        warnings.warn(
            f"{path}: its photos do not match by poses that are camera-to-world in {usual[listing.axes]} "
            f"them. They seem to be {found}.",
            stacklevel=4,
        )


def _scale(capture: Capture, extent: Extent, scale: float | None, path: Path) -> tuple[float, str]:
    if scale is not None:
        return float(scale), "set by hand"
    if capture.metric and not _ROOMS[0] <= extent.typical <= _ROOMS[1]:
        warnings.warn(
            f"{path}: its poses are taken for metres, but its typical depth is then {extent.typical:.3g} m. If they "
            'are in another unit write `"metric": false`, or set the scale.',
            stacklevel=4,
        )
    if capture.metric:
        return 1.0, "the file is metric"
    return TYPICAL_DEPTH / extent.typical, f"typical depth {extent.typical:.3g} units taken as {TYPICAL_DEPTH} m"
