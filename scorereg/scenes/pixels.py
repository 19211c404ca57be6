"""Pixels of a view: its photo, mask and depth map, upright, straight and reduced, with the pinhole that shows them."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from scorereg._progress import steps
from scorereg.files import Lens, Listing, View
from scorereg.files.depth import depth_size, read_depth
from scorereg.files.images import ImageHead, orient, read_head, read_image
from scorereg.files.lens import is_bent, lens_of_size, undistort
from scorereg.files.masks import read_mask
from scorereg.files.names import shown
from scorereg.files.said import FileWarning
from scorereg.scenes.resize import reduce_depth, reduce_image, reduce_mask, reduction

__all__ = ["Alpha", "Picture", "Plan", "plan_views", "read_picture"]

Alpha = Literal["white", "mask"]

_LARGE = 50_000_000  # pixels of photos that are reduced while they are read
_WIDEST = 0.02  # least focal length of a pinhole, in widths: 176 degrees
_MARGIN = 0.1  # shares of the photo at its edges, where principal points are not
_COVERED = 0.25  # least share of a straightened photo that is covered, by usual lenses
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Plan:
    """How a photo is read.

    Args:
        view: Its files.
        name: File and frame, for errors.
        lens: In the photo's own pixels.
        upright: Whether it is turned as EXIF says.
        step: Factor of reduction.
    """

    view: View
    name: str
    lens: Lens
    upright: bool
    step: int

    @property
    def full(self) -> tuple[int, int]:
        """Width and height before reduction."""
        assert self.lens.size is not None, "lens_of_size gives it"
        return int(self.lens.size[0]), int(self.lens.size[1])

    @property
    def size(self) -> tuple[int, int]:
        """Width and height after reduction."""
        width, height = self.full
        return width // self.step, height // self.step


@dataclass(frozen=True)
class Picture:
    """Pixels of a view.

    Args:
        image: The photo, in [0, 1].
        mask: Pixels that count; None if all do.
        depth: Depth times `unit`, 0 where unknown; None if the view has no depth map.
        shown: Pixels that show the object; None if the view has no mask of it.
    """

    image: Float[Tensor, "h w 3"]
    mask: Bool[Tensor, "h w"] | None
    depth: Float[Tensor, "h w"] | None
    shown: Bool[Tensor, "h w"] | None = None


def plan_views(listing: Listing, views: Sequence[View], folder: Path, max_size: int | None) -> list[Plan]:
    """Read the heads of photos and bring each lens to its photo's size.

    Raises:
        FileNotFoundError: If a photo is missing.
        ValueError: If a photo cannot be used, or its lens is not one for it.
    """
    gone = [view.color for view in views if view.color is not None and not view.color.is_file()]
    if gone:
        what, more = listing.source.name, f" ({len(gone)} of {len(views)} are)" if len(gone) > 1 else ""
        raise FileNotFoundError(f"{gone[0]}: the image named in {what} is missing{more}; add it or remove its frame.")
    plans = [_plan(listing, view, folder, max_size) for view in steps("headers of photos", views)]
    _check_shared(plans)
    return plans


def _plan(listing: Listing, view: View, folder: Path, max_size: int | None) -> Plan:
    photo = view.color
    if photo is None:
        raise ValueError(f"{listing.source}: {view.file} has no photo; name its image (`file_path`), or remove it.")
    name = f"{listing.source}, frame {shown(photo, folder)}"
    if view.lens is None:
        raise ValueError(f"{name}: no focal length; write `fl_x` or `camera_angle_x`, for the frame or for all.")
    lens, head = view.lens, read_head(photo)
    if view.resize and lens.size is None and view.depth is not None:  # its numbers are for the depth map
        lens = Lens(lens.focal, lens.center, lens.distortion, lens.model, depth_size(view.depth))
    upright = _upright(photo, head, lens)
    width, height = head.upright if upright else head.stored
    lens = lens_of_size(lens, width, height)
    _check_lens(lens, photo, name)
    return Plan(view, name, lens, upright, reduction(width, height, max_size))


def _upright(photo: Path, head: ImageHead, lens: Lens) -> bool:
    """Whether a photo is turned as EXIF says; a lens without a size tells it by its center."""
    sides = head.stored, head.upright
    if lens.size is not None or lens.center is None or sides[0] == sides[1]:
        return orient(photo, head, lens.size)
    x, y = lens.center
    apart = [abs(x / width - 0.5) + abs(y / height - 0.5) for width, height in sides]
    return apart[1] <= apart[0]


def _check_lens(lens: Lens, photo: Path, name: str) -> None:
    """Check that the numbers of a lens are those of one, also as float32; warn of a principal point at the edge."""
    assert lens.size is not None, "lens_of_size gives it"
    assert lens.center is not None, "lens_of_size gives it"
    numbers = np.array([*lens.focal, *lens.center, *lens.distortion], np.float64)
    if not (np.isfinite(numbers).all() and (np.abs(numbers) < _LARGEST).all() and min(lens.focal) > 0):
        raise ValueError(f"{name}: `fl_x`, `fl_y`, `cx`, `cy` or a lens term is no number that can be; correct it.")
    if lens.model != "fisheye" and lens.focal[0] < _WIDEST * lens.size[0]:
        raise ValueError(
            f"{name}: a focal length of {lens.focal[0]:.3g} pixels for a width of {lens.size[0]:g} cannot be; write "
            "`fl_x` in pixels."
        )
    shares = [middle / side for middle, side in zip(lens.center, lens.size, strict=True)]
    if not all(_MARGIN < share < 1 - _MARGIN for share in shares):
        middle = f"({lens.center[0]:.6g}, {lens.center[1]:.6g}) for {lens.size[0]:g}x{lens.size[1]:g} pixels"
        words = f"has its principal point at {middle}, far from the middle. Is that so, or is it for another size?"
        warnings.warn(FileWarning(photo, words, "principal point"), stacklevel=2)


def _check_shared(plans: Sequence[Plan]) -> None:
    """Check that photos of one lens, which is given without its size, have one size."""
    alike = [plan for plan in plans if plan.view.shared and plan.view.lens and plan.view.lens.size is None]
    for plan in alike:
        if plan.full != alike[0].full and plan.view.lens == alike[0].view.lens:
            here, there = ("{}x{}".format(*size) for size in (plan.full, alike[0].full))
            raise ValueError(
                f"{plan.view.color}: {here} pixels, but {alike[0].view.file.name} has {there}, and one lens is given "
                "for all images: write `w` and `h`, or a lens for each frame, or resize or remove it."
            )


def read_picture(plan: Plan, alpha: Alpha) -> Picture:
    """Read the pixels of a view.

    What a distorted photo does not cover of the pinhole's image does not count, nor what is masked, or, with
    `alpha="mask"`, not wholly opaque. A reduced pixel counts if all of its do.
    """
    view, step, bent = plan.view, plan.step, is_bent(plan.lens)
    width, height = plan.full
    assert view.color is not None, "a plan is made for a photo"
    early = step if not bent and width * height > _LARGE else 1
    photo = read_image(view.color, upright=plan.upright, step=early)
    image = torch.from_numpy(photo.color)
    masks = []
    if alpha == "mask" and photo.alpha is not None:
        opaque = torch.from_numpy(photo.alpha > 1 - 0.5 / 255)
        masks.append(opaque if early > 1 else reduce_mask(_straight(opaque, plan), step))
    if view.mask is not None:
        masks.append(_mask(plan, read_mask(view.mask, size=plan.full, marks=view.mask_marks)))
    if bent:
        image, covered = undistort(image, plan.lens)
        if (share := covered.float().mean().item()) < _COVERED:
            words = f"covers {share:.0%} of its image without distortion. Correct its lens terms (k1, k2, ...)."
            warnings.warn(FileWarning(view.color, words, "little covered"), stacklevel=2)
        masks.append(reduce_mask(covered, step))
    mask = torch.stack(masks).all(0) if masks else None
    shown = view.object_mask and _mask(plan, read_mask(view.object_mask, size=plan.full, empty=True))
    return Picture(reduce_image(image, step // early), mask, _depth(plan), shown)


def _depth(plan: Plan) -> Float[Tensor, "h w"] | None:
    view = plan.view
    if view.depth is None:
        return None
    if not view.depth.is_file():
        what = "the depth map named for this view is missing; add it or drop the entry"
        raise FileNotFoundError(f"{view.depth}: {what}.")
    depth = torch.from_numpy(read_depth(view.depth, 1.0, size=plan.full) * np.float32(view.unit)).nan_to_num(0.0)
    if is_bent(plan.lens):
        depth = undistort(depth[..., None], plan.lens, mode="nearest")[0][..., 0]
    return reduce_depth(depth, plan.step)


def _mask(plan: Plan, pixels: Bool[np.ndarray, "h w"]) -> Bool[Tensor, "i j"]:
    """A mask of the photo as that of its straight and reduced image."""
    return reduce_mask(_straight(torch.from_numpy(pixels), plan), plan.step)


def _straight(mask: Bool[Tensor, "h w"], plan: Plan) -> Bool[Tensor, "h w"]:
    if not is_bent(plan.lens):
        return mask
    return undistort(mask[..., None].float(), plan.lens, mode="nearest")[0][..., 0] > 0
