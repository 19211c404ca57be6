"""`load_scene`: load a folder of any known format as a `Scene` in metres."""

from dataclasses import replace
from pathlib import Path

from scorereg.scenes.extent import Extent, extent_of_points, extent_of_views
from scorereg.scenes.llff import read_llff
from scorereg.scenes.nerfstudio import read_transforms
from scorereg.scenes.scene import Capture, Scene

__all__ = ["TYPICAL_DEPTH", "load_scene"]

_SMALLEST = 7  # pixels, the window of SSIM

TYPICAL_DEPTH = 2.4
"""Median depth in metres of the rendered rooms of the shipped indoor prior's training data (752 frames). A scene of
unknown unit is scaled so that its typical depth becomes this: its disparities are then those of the training data."""


def load_scene(path: str | Path, views: int = 3, *, scale: float | None = None, max_size: int | None = None) -> Scene:
    """Load photos and cameras from an LLFF folder (`poses_bounds.npy`) or a nerfstudio one (`transforms.json`).

    A scene with true depth, or with `"metric": true`, is in metres. Any other is scaled so that its typical depth
    becomes `TYPICAL_DEPTH`. The typical depth is the harmonic mean of the file's near and far, else the median depth of
    its sparse points, else the median of a plane sweep between the training photos. Near and far come from the same
    source, never from true depth, which is for evaluation.

    Args:
        path: Folder of the scene.
        views: Number of training views, >= 1; spread evenly over those that the format allows for training.
        scale: Metres per unit of the file; found as above if not given.
        max_size: Largest side of the images in pixels, to which they are reduced by a whole factor; not if not given.

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
    capture = _read(folder, views, max_size)
    if min(capture.images.shape[1:3]) < _SMALLEST:
        height, width = capture.images.shape[1:3]
        raise ValueError(
            f"{folder}: photos of {width}x{height} pixels are too small; the shorter side "
            f"needs at least {_SMALLEST}. Give larger ones, or a larger max_size."
        )
    extent, source = _extent(capture, folder)
    factor, found = _scale(capture, extent, scale)
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
    )


def _read(path: Path, views: int, max_size: int | None) -> Capture:
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such folder; check the path.")
    if not path.is_dir():
        raise NotADirectoryError(f"{path}: a scene is a folder, but this is a file; give the folder it lies in.")
    if (path / "transforms.json").is_file():
        return read_transforms(path, views, max_size=max_size)
    if (path / "poses_bounds.npy").is_file():
        return read_llff(path, views, max_size=max_size)
    what = "no poses" if any(path.iterdir()) else "the folder is empty"
    raise FileNotFoundError(
        f"{path}: {what}; a scene needs transforms.json (nerfstudio) or poses_bounds.npy (LLFF) beside its images."
    )


def _extent(capture: Capture, path: Path) -> tuple[Extent, str]:
    train = list(capture.train)
    if capture.bounds is not None:
        near, far = capture.bounds
        return Extent(0.9 * near, 1.1 * far, 2 / (1 / near + 1 / far)), "the file's bounds"
    if capture.points is not None:
        return extent_of_points(capture.points, capture.cameras[train], path=path), "sparse points"
    extent = extent_of_views(capture.images[train], capture.cameras[train], path=path)
    return extent, "a plane sweep of the training photos"


def _scale(capture: Capture, extent: Extent, scale: float | None) -> tuple[float, str]:
    if scale is not None:
        return float(scale), "set by hand"
    if capture.metric:
        return 1.0, "the file is metric"
    return TYPICAL_DEPTH / extent.typical, f"typical depth {extent.typical:.3g} units taken as {TYPICAL_DEPTH} m"
