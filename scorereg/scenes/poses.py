"""Poses as float32: checked, made rotations, and moved to where float32 keeps their digits."""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["MOST_SKEW", "center_of", "checked_pose"]

MOST_SKEW = 0.05
"""Largest entry of `R^T R - I` of a valid pose. Files round their numbers, so a pose within this is replaced by the
nearest rotation; a worse one is an error."""

_FAR = 1000.0


def checked_pose(pose: Float[Tensor, "3 4"], name: str) -> Float[Tensor, "3 4"]:
    """Check a pose, and replace its 3x3 part by the nearest rotation (by SVD).

    Args:
        pose: World-from-camera, float64.
        name: File and frame, for the error.

    Raises:
        ValueError: If a number is not finite, or the 3x3 part is not a rotation within `MOST_SKEW`.
    """
    if not pose.float().isfinite().all():
        raise ValueError(
            f"{name}: the pose holds NaN, infinity or a number beyond float32; remove this frame or pose it again."
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
    return torch.cat([u @ v, pose[:, 3:].double()], 1)


def center_of(centers: Float[Tensor, "n 3"]) -> tuple[float, float, float]:
    """The point that coordinates are counted from: the mean of the cameras, if they are far from the origin.

    They are if their largest coordinate is more than 1000 times their largest distance from the mean: float32, of seven
    digits, would keep less than four of where they are to each other. Else it is the origin itself, so that ordinary
    scenes keep their numbers.

    Args:
        centers: Centers of all cameras, float64.
    """
    mean = centers.double().mean(0)
    spread = (centers - mean).norm(dim=-1).max()
    if centers.abs().max() <= _FAR * spread:
        return 0.0, 0.0, 0.0
    x, y, z = mean.tolist()
    return x, y, z
