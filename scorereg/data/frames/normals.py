"""Surface normals from disparity, for data with depth and without normals."""

import numpy as np

__all__ = ["normals_of"]


def normals_of(disparity: np.ndarray, focal: tuple[float, float]) -> np.ndarray:
    r"""Return unit normals in camera axes (x right, y down, z forwards), pointing to the camera.

    On a plane inverse depth is affine in the pixel, w = (n_x x + n_y y + n_z) / c with x = (i - i_0) / f, so that

        n is proportional to (f w_i, f w_j, w - (i - i_0) w_i - (j - j_0) w_j)

    exactly, also for a multiple of w and after area averages. Derivatives are central differences, one-sided at the
    edges. The principal point is taken to be the middle of the image.

    Args:
        disparity: `[h, w]`, any multiple of inverse depth, NaN where unknown.
        focal: Horizontal and vertical focal length, in pixels.

    Returns:
        `[h, w, 3]`, NaN where the disparity of a pixel or of its neighbours is unknown.
    """
    down, across = np.gradient(disparity)
    rows, columns = disparity.shape
    y = (np.arange(rows) - (rows - 1) / 2)[:, None]
    x = np.arange(columns) - (columns - 1) / 2
    normal = -np.stack([focal[0] * across, focal[1] * down, disparity - x * across - y * down], -1)
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    return (normal / np.where(length > 0, length, np.nan)).astype(np.float32)
