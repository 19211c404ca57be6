"""3x4 projection matrices, `x ~ K [R | t] X`, taken apart into lens and pose."""

import numpy as np
from jaxtyping import Float

from scorereg.files.layouts.poses import inverse

__all__ = ["decompose"]

_SKEW = 1e-3  # of the focal length


def decompose(matrix: Float[np.ndarray, "3 4"], name: str) -> tuple[Float[np.ndarray, "3 3"], tuple[float, ...]]:
    """Return the camera matrix K, with K[2, 2] = 1, and the world-from-camera pose of a projection.

    By an RQ decomposition of the left 3x3 part; points in front of the camera have positive depth.

    Args:
        matrix: The projection, of any scale and sign.
        name: File, and matrix in it, for the error.

    Raises:
        ValueError: If it is singular or not finite, or its pixels are no rectangles.
    """
    if not np.isfinite(matrix).all() or abs(np.linalg.det(_unit(matrix[:, :3]))) < 1e-12:
        raise ValueError(f"{name} is no projection of a camera: it is singular or not finite. Correct the file.")
    part = matrix[:, :3] * np.sign(np.linalg.det(matrix[:, :3]))  # so that R is a rotation, not a mirror
    q, r = np.linalg.qr(np.flipud(part).T)
    camera, rotation = np.fliplr(np.flipud(r.T)), np.flipud(q.T)
    signs = np.sign(np.diag(camera))
    camera, rotation = camera * signs, rotation * signs[:, None]
    camera = camera / camera[2, 2]
    if abs(camera[0, 1]) > _SKEW * camera[0, 0]:
        raise ValueError(f"{name}: the pixels of this camera are skewed by {camera[0, 1]:g}, which no lens here has.")
    center = -np.linalg.solve(matrix[:, :3], matrix[:, 3])
    return camera, inverse(rotation, (-rotation @ center).tolist())


def _unit(matrix: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
    """The matrix with rows of length 1, as its determinant depends on their lengths."""
    length = np.linalg.norm(matrix, axis=1, keepdims=True)
    return matrix / np.where(length > 0, length, 1)
