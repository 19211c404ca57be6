"""Poses in another convention than the file's format has: the training photos match in that, and not as they stand."""

from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from scorereg.cameras import Cameras
from scorereg.scenes.extent import CLOSEST
from scorereg.scenes.sweep import matched, shrunk

__all__ = ["better_convention"]

_WIDTH, _PLANES = 48, 64  # of the sweep: pixels of the small photos, and planes
_ENOUGH = 1200  # matched pixels, from which on the poses are right as they stand
_LEAST = 100  # matched pixels, below which photos tell nothing
_BETTER = 2.0  # times as many pixels that match in another convention; 0.6 at most in scenes that are right
_OPENGL = torch.tensor([1.0, -1.0, -1.0])


def better_convention(
    images: Float[Tensor, "n h w 3"],
    cameras: Cameras,
    masks: Bool[Tensor, "n h w"] | None,
    *,
    axes: Literal["opengl", "opencv"] = "opengl",
) -> str | None:
    """Return what poses, read as camera-to-world in some axes, seem to be instead; None if they seem right.

    Pixels that match in a small plane sweep of the photos are counted, for the poses as they were read, in the other
    axes, and as their inverse in either. Another convention is better if at least twice as many match.

    Args:
        images: Training photos.
        cameras: Their cameras, in OpenCV's axes.
        masks: Pixels that count.
        axes: Those that the file's matrices were read in.
    """
    photos, small = shrunk(images, masks, cameras, width=_WIDTH)
    given = _matches(photos, small)
    if given >= _ENOUGH or len(cameras) < 2:
        return None
    swapped = _swapped(cameras.pose)
    written = swapped if axes == "opengl" else cameras.pose
    back = written[..., :3].transpose(1, 2)
    inverse = torch.cat([back, -back @ written[..., 3:]], -1)
    same, other = (_swapped(inverse), inverse) if axes == "opengl" else (inverse, _swapped(inverse))
    name = "OpenCV's axes" if axes == "opengl" else "OpenGL's axes"
    which = "y down, z forward" if axes == "opengl" else "y up, z back"
    others = {
        f"camera-to-world in {name} ({which}): multiply columns 2 and 3 by -1": swapped,
        "world-to-camera: write their inverse": same,
        f"world-to-camera in {name}: write their inverse, with columns 2 and 3 times -1": other,
    }
    counts = {words: _matches(photos, replace(small, pose=pose)) for words, pose in others.items()}
    best = max(counts, key=counts.__getitem__)
    return best if counts[best] >= max(_LEAST, _BETTER * given) else None


def _swapped(pose: Float[Tensor, "n 3 4"]) -> Float[Tensor, "n 3 4"]:
    """The same matrices, taken to be in the other axes."""
    return torch.cat([pose[..., :3] * _OPENGL, pose[..., 3:]], -1)


def _matches(photos: Float[Tensor, "n c h w"], cameras: Cameras) -> int:
    """Number of pixels that match."""
    distance = torch.cdist(cameras.origins, cameras.origins, compute_mode="donot_use_mm_for_euclid_dist")
    distance = torch.where(distance > 0, distance, torch.inf)
    nearest = distance.amin(1)
    if not nearest.isfinite().any():
        return 0
    step = 1 / (CLOSEST * nearest[nearest.isfinite()].median().item() * (_PLANES - 1))
    return len(matched(photos, cameras, step * torch.arange(_PLANES), distance, 4 * step))
