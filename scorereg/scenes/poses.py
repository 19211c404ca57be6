"""Checks of the poses that a file names."""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["MOST_SKEW", "checked_pose"]

MOST_SKEW = 0.05
"""Largest entry of `R^T R - I` that still passes for a rotation. Files round their numbers and structure from motion is
not always clean; a pose within this is replaced by the nearest rotation, a worse one is an error."""


def checked_pose(pose: Float[Tensor, "3 4"], name: str) -> Float[Tensor, "3 4"]:
    """The pose, its rotation replaced by the nearest one (by SVD).

    Args:
        pose: World-from-camera.
        name: File and frame, for the error.

    Raises:
        ValueError: If a number is not finite, or the 3x3 part is not a rotation within `MOST_SKEW`.
    """
    if not pose.float().isfinite().all():
        raise ValueError(
            f"{name}: the pose holds NaN, infinity or what is as good as infinite; remove this frame or pose it again."
        )
    rotation = pose[:, :3].double()
    determinant = torch.linalg.det(rotation).item()
    skew = (rotation.T @ rotation - torch.eye(3).double()).abs().max().item()
    if skew > MOST_SKEW or determinant < 0:
        raise ValueError(
            f"{name}: the pose's 3x3 part is no rotation (determinant {determinant:.3g}, columns off orthonormal by "
            f"{skew:.3g}); it must be a camera-to-world rotation without scale or mirror. "
            "Remove this frame or pose it again."
        )
    u, _, v = torch.linalg.svd(rotation)
    return torch.cat([u @ v, pose[:, 3:].double()], 1).float()
