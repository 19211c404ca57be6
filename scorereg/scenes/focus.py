"""A wide range of depths where photos cannot tell it: about the point that the cameras look at."""

import torch
from jaxtyping import Float
from torch import Tensor

from scorereg.scenes.extent import Extent

__all__ = ["TYPICAL_DEPTH", "wide_extent"]

TYPICAL_DEPTH = 2.4
"""Median depth in metres of the rendered rooms of the shipped indoor prior's training data (752 frames). A scene of
unknown unit is scaled so that its typical depth becomes this: its disparities are then those of the training data."""

_RANGE = 1 / 6, 4.0  # near and far, as multiples of the typical depth
_ASKEW = 1e-3  # least mean square sine between the axes and the direction they agree on most; of 1.8 degrees
_SPREADS = 3.0  # typical depth in largest distances of cameras from their mean


def wide_extent(training: Float[Tensor, "n 3 4"], poses: Float[Tensor, "m 3 4"], *, metric: bool) -> tuple[Extent, str]:
    """Return a range of depths that is made of poses alone, and its source in words.

    The typical depth is that of the point nearest to all cameras' optical axes (least squares), where these are not
    nearly parallel and the point is in front of the training cameras. Else it is `TYPICAL_DEPTH` in a metric scene, or
    three times the cameras' largest distance from their mean. Near is a sixth of it, far four times; in a metric scene
    the range reaches to those of `TYPICAL_DEPTH` too, as cameras within a room look at a point before its walls.

    Args:
        training: Poses of the training views.
        poses: Poses of all views; those of held-out ones are no secret, only their photos are.
        metric: Whether the unit is the metre.
    """
    near, far = _RANGE
    depth, source = _looked_at(training.double(), poses.double()), "the point that the cameras look at"
    if depth is None:
        spread = (poses[..., 3] - poses[..., 3].mean(0)).norm(dim=-1).max().item()
        known = metric or spread == 0
        depth, source = (TYPICAL_DEPTH, "a usual depth") if known else (_SPREADS * spread, "the cameras' spread")
    depths = [depth, TYPICAL_DEPTH] if metric else [depth]
    return Extent(near * min(depths), far * max(depths), depth), source


def _looked_at(training: Float[Tensor, "n 3 4"], poses: Float[Tensor, "m 3 4"]) -> float | None:
    """Mean planar depth, in the training cameras, of the point nearest to all axes; None if there is none in front."""
    axes, origins = poses[..., 2], poses[..., 3]
    across = torch.eye(3).double() - axes[:, :, None] * axes[:, None, :]
    total = across.mean(0)
    if torch.linalg.eigvalsh(total)[0] < _ASKEW:
        return None
    point = torch.linalg.solve(total, (across @ origins[..., None]).mean(0))[:, 0]
    depth = ((point - training[..., 3]) * training[..., 2]).sum(-1)
    return depth.mean().item() if (depth > 0).all() else None
