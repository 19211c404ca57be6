"""`Capture`: photos with cameras in a folder's own unit, read from the files that a `Listing` names."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from scorereg._progress import steps
from scorereg.cameras import Cameras
from scorereg.files import Listing
from scorereg.files.names import shown
from scorereg.files.plausible import odd_bounds, odd_lenses, odd_places
from scorereg.scenes.pixels import Alpha, Picture, Plan, plan_views, read_picture
from scorereg.scenes.points import read_points
from scorereg.scenes.poses import center_of, checked_pose
from scorereg.scenes.split import split_listing

__all__ = ["Capture", "read_capture"]

_PIXEL = 12  # bytes of three float32
_MUCH, _MOST = 2**30, 2**33  # bytes from which on only the needed views are read, and above which none are


@dataclass(frozen=True, eq=False)
class Capture:
    """Photos with cameras as a folder describes them, in its own unit of length.

    Args:
        images: Photos of all views, in [0, 1].
        cameras: Cameras of all views.
        filenames: File names of the photos, relative to the scene's folder.
        train: Indices of the training views.
        test: Indices of the held-out views.
        poses: Poses of all views of the folder, of which `cameras` may be a part.
        depth: True planar depth of all views, 0 where unknown.
        metric: Whether the unit is the metre.
        bounds: Near and far of the training views as the folder gives them, without a margin.
        points: Sparse points in world coordinates.
        likely: Near and far of such folders, for photos that do not tell them.
        masks: Pixels that count; None if all do.
        objects: Pixels that show the object, for evaluation; None without masks of one.
        offset: What was subtracted from all coordinates, float64.
    """

    images: Float[Tensor, "n h w 3"]
    cameras: Cameras
    filenames: tuple[str, ...]
    train: tuple[int, ...]
    test: tuple[int, ...]
    poses: Float[Tensor, "m 3 4"]
    depth: Float[Tensor, "n h w"] | None = None
    metric: bool = False
    bounds: tuple[float, float] | None = None
    points: Float[Tensor, "p 3"] | None = None
    likely: tuple[float, float] | None = None
    masks: Bool[Tensor, "n h w"] | None = None
    objects: Bool[Tensor, "n h w"] | None = None
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)


def read_capture(
    listing: Listing,
    folder: Path,
    views: int,
    *,
    max_size: int | None = None,
    alpha: Alpha = "white",
    object_only: bool = False,
) -> Capture:
    """Read photos, masks and depth maps, and bring poses and points to one center.

    Views without a pose are left out. Photos of several sizes are put in the upper left corner of one canvas, whose
    other pixels do not count. With `object_only` only pixels that show the object do. Where the photos of all views
    would take more than 1 GiB only those are read that are trained on or held out.

    Raises:
        OSError: If a file is missing or cannot be read.
        ValueError: If a photo, a pose, a lens or the number of views cannot be used, or the photos would take more than
            8 GiB.
    """
    listing = _with_poses(listing)
    train, test = split_listing(listing, views, path=folder if listing.source.is_dir() else listing.source)
    matrices = [torch.from_numpy(view.matrix) for view in listing.views]
    names = [shown(view.file, folder) for view in listing.views]
    checked = [checked_pose(m, f"{listing.source}, frame {n}") for m, n in zip(matrices, names, strict=True)]
    poses, offset = _centered(torch.stack(checked))
    plans = plan_views(listing, listing.views, folder, max_size)
    _tell(listing, names, plans, torch.stack(checked)[..., 3].numpy())
    kept = list(range(len(plans)))
    if _memory(plans) > _MUCH:
        kept = sorted({*train, *test})
        train, test = (tuple(kept.index(i) for i in part) for part in (train, test))
    plans = [plans[i] for i in kept]
    size = _check_memory(plans, folder)
    images, masks, depth, objects = _read(plans, size, alpha, folder)
    if object_only and objects is not None:
        masks = objects if masks is None else masks & objects
    cameras = _cameras(plans, poses[kept], size)
    bounds = [plans[i].view.bounds for i in train]
    whole = [pair for pair in bounds if pair is not None]
    return Capture(
        images, cameras, tuple(names[i] for i in kept), train, test, poses,
        depth=depth, metric=bool(listing.metric),
        bounds=(min(b[0] for b in whole), max(b[1] for b in whole)) if len(whole) == len(bounds) else None,
        points=read_points(listing, cameras, offset) if listing.points else None,
        likely=listing.likely, masks=masks, objects=objects, offset=offset,
    )  # fmt: skip


def _tell(listing: Listing, names: Sequence[str], plans: Sequence[Plan], centers: Float[np.ndarray, "n 3"]) -> None:
    """Warn of lenses, places and bounds that can hardly be right."""
    for warning in odd_lenses([(plan.view.file, plan.lens) for plan in plans]):
        warnings.warn(warning, stacklevel=3)
    bounds = {view.bounds for view in listing.views if view.bounds}
    lines = [line for pair in sorted(bounds) for line in odd_bounds(listing.source, pair, centers)][:1]
    for line in (*odd_places(listing.source, names, centers), *lines):
        warnings.warn(line, stacklevel=3)


def _with_poses(listing: Listing) -> Listing:
    """The listing without its views that have no pose."""
    kept = [i for i, view in enumerate(listing.views) if view.pose is not None]
    place = {old: new for new, old in enumerate(kept)}
    train, test = (
        None if part is None else tuple(place[i] for i in part if i in place) for part in (listing.train, listing.test)
    )
    return replace(listing, views=tuple(listing.views[i] for i in kept), train=train, test=test)


def _centered(poses: Float[Tensor, "m 3 4"]) -> tuple[Float[Tensor, "m 3 4"], tuple[float, float, float]]:
    """Poses in float32, counted from the offset, which is returned too."""
    offset = center_of(poses[..., 3])
    poses = torch.cat([poses[..., :3], (poses[..., 3] - torch.tensor(offset, dtype=torch.float64))[..., None]], -1)
    return poses.float(), offset


def _canvas(plans: Sequence[Plan]) -> tuple[int, int]:
    return max(plan.size[0] for plan in plans), max(plan.size[1] for plan in plans)


def _memory(plans: Sequence[Plan]) -> int:
    width, height = _canvas(plans)
    return len(plans) * width * height * _PIXEL


def _check_memory(plans: Sequence[Plan], folder: Path) -> tuple[int, int]:
    """The width and height that all photos fit in, if they fit in memory."""
    width, height = size = _canvas(plans)
    if (need := _memory(plans)) > _MOST:
        fits = int(max(size) * (_MOST / need) ** 0.5)
        raise ValueError(
            f"{folder}: {len(plans)} photos of {width}x{height} pixels take {need / 2**30:.0f} GiB of memory; give a "
            f"max_size (--max-size) of at most {fits} pixels for the longer side."
        )
    return size


def _read(
    plans: Sequence[Plan], size: tuple[int, int], alpha: Alpha, folder: Path
) -> tuple[
    Float[Tensor, "n h w 3"], Bool[Tensor, "n h w"] | None, Float[Tensor, "n h w"] | None, Bool[Tensor, "n h w"] | None
]:
    """Photos, masks, depth maps and masks of the object of all views on one canvas."""
    shape = len(plans), size[1], size[0]
    images, masks, objects = torch.ones(*shape, 3), None, None
    depth = torch.zeros(shape) if any(plan.view.depth for plan in plans) else None
    sizes = {plan.size for plan in plans}
    if len(sizes) > 1:
        warnings.warn(
            f"{folder}: photos of {len(sizes)} sizes lie on a canvas of {size[0]}x{size[1]}; the rest of it is masked.",
            stacklevel=4,
        )
    for i, plan in enumerate(steps("reading photos", plans)):
        picture, (width, height) = read_picture(plan, alpha), plan.size
        images[i, :height, :width] = picture.image
        counts = _counting(picture, plan, size)
        if counts is not None:
            masks = torch.ones(shape, dtype=torch.bool) if masks is None else masks
            masks[i] = counts
        if picture.depth is not None and depth is not None:
            depth[i, :height, :width] = picture.depth
        if picture.shown is not None:
            objects = torch.zeros(shape, dtype=torch.bool) if objects is None else objects
            objects[i, :height, :width] = picture.shown
    return images, masks, depth, objects


def _counting(picture: Picture, plan: Plan, size: tuple[int, int]) -> Bool[Tensor, "h w"] | None:
    """Pixels of the canvas that count; None if all do."""
    if plan.size == size and (picture.mask is None or picture.mask.all()):
        return None
    width, height = plan.size
    counts = torch.zeros(size[1], size[0], dtype=torch.bool)
    counts[:height, :width] = True if picture.mask is None else picture.mask
    return counts


def _cameras(plans: Sequence[Plan], poses: Float[Tensor, "n 3 4"], size: tuple[int, int]) -> Cameras:
    steps = torch.tensor([plan.step for plan in plans])[:, None]
    focal, center = (torch.tensor([getattr(plan.lens, what) for plan in plans]) / steps for what in ("focal", "center"))
    return Cameras(poses, focal, center, *size)
