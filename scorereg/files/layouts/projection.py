"""3x4 projection matrices, `x ~ K [R | t] X`, taken apart into lens and pose; and the size of photo that K is for."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from scorereg.files.layouts.poses import inverse

__all__ = ["decompose", "scaled_words", "sized_for"]

_OFF = 0.3  # of half a side: how far from the photo's middle the center may be
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


def scaled_words(path: Path, size: tuple[float, float], photo: tuple[int, int]) -> tuple[str, ...]:
    """Return the line that cameras are scaled to photos of another size; nothing if the sizes agree."""
    if size == photo:
        return ()
    return (f"{path}: the cameras are for {size[0]:g}x{size[1]:g} pixels, scaled to photos of {photo[0]}x{photo[1]}",)


def sized_for(
    center: tuple[float, float], photo: tuple[int, int], others: Sequence[tuple[float, float]], path: Path
) -> tuple[float, float]:
    """Return the width and height that a camera matrix is for, told by its center, which lies near their middle.

    Args:
        center: Center of the camera, in pixels.
        photo: Width and height of a photo.
        others: Other sizes that it may be for; those of other proportions than the photo's are none.
        path: File that errors name.

    Raises:
        ValueError: If the center is in the middle of none of them.
    """
    alike = [size for size in others if abs(size[0] * photo[1] / (size[1] * photo[0]) - 1) < 0.03]
    sizes = [(float(photo[0]), float(photo[1])), *alike]
    off = [max(abs(2 * c / side - 1) for c, side in zip(center, size, strict=True)) for size in sizes]
    best = min(range(len(sizes)), key=off.__getitem__)
    if off[best] > _OFF:
        raise ValueError(
            f"{path}: the cameras' center is ({center[0]:.0f}, {center[1]:.0f}), not near the middle of photos of "
            f"{photo[0]}x{photo[1]} pixels: they are for another size. Use the photos that they were made for."
        )
    return sizes[best]


def _unit(matrix: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
    """The matrix with rows of length 1, as its determinant depends on their lengths."""
    length = np.linalg.norm(matrix, axis=1, keepdims=True)
    return matrix / np.where(length > 0, length, 1)
