"""What kind of scene cameras look at, told by their axes alone: one side of it, an object, or a place around them."""

from typing import Literal

import torch

from scorereg.cameras import Cameras

__all__ = ["SceneKind", "kind_of"]

SceneKind = Literal["forward-facing", "object", "inside-out"]

_PARALLEL = 0.95  # length of the mean of the axes: 18 degrees about it
_MEET = 0.1  # how far from an axis the point may be that all look at, in its distance


def kind_of(cameras: Cameras) -> SceneKind:
    """Tell the kind of a scene from where its cameras stand and look.

    `"forward-facing"` if the optical axes are nearly parallel, as in LLFF. Else, with p the point nearest to all axes,
    `"object"` if nearly all cameras have p before them and the median axis passes it by less than a tenth of its
    distance, as on a dome around an object or an arc before a facade; and `"inside-out"` if not, as amid a room.

    Args:
        cameras: All of a scene.
    """
    axes, centers = cameras.pose[:, :, 2].double(), cameras.pose[:, :, 3].double()
    if axes.mean(0).norm() > _PARALLEL:
        return "forward-facing"
    across = torch.eye(3, dtype=axes.dtype, device=axes.device) - axes[:, :, None] * axes[:, None, :]
    solved = torch.linalg.pinv(across.sum(0)) @ (across @ centers[:, :, None]).sum(0)
    to_point = solved[:, 0] - centers
    depth = (to_point * axes).sum(1)
    off = (to_point - depth[:, None] * axes).norm(dim=1)
    meet = (depth > 0).double().mean() > 0.9 and off.median() < _MEET * depth.abs().median()
    return "object" if meet else "inside-out"
