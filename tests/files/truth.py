"""Known cameras and photos, for tests that write them in a layout and read them back."""

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 24, 16
FOCAL = (30.0, 29.0)
CENTER = (12.7, 7.6)  # from the first pixel's corner
COUNT = 4


def rotation(axis, angle):
    """Rodrigues' formula."""
    x, y, z = np.array(axis, np.float64) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def poses(count=COUNT):
    """World-from-camera, 3x4, of cameras with z forwards and y down; all axes and signs differ."""
    parts = []
    for i in range(count):
        turn = rotation((0.3, -1.0, 0.5 + i), 0.4 + 0.6 * i)
        parts.append(np.concatenate([turn, [[0.1 + i], [-0.2 * i], [0.5 - 0.3 * i]]], 1))
    return parts


def quaternion(turn):
    """(w, x, y, z) of a rotation matrix, as the eigenvector of Bar-Itzhack's symmetric matrix."""
    k = np.zeros((4, 4))
    for i, j, sign, a, b in ((0, 1, -1, 2, 1), (0, 2, -1, 0, 2), (0, 3, -1, 1, 0)):
        k[i, j] = k[j, i] = -sign * (turn[a, b] - turn[b, a])
    k[1:, 1:] = turn + turn.T - np.eye(3) * np.trace(turn)
    k[0, 0] = np.trace(turn)
    values, vectors = np.linalg.eigh(k)
    return vectors[:, values.argmax()]


def matrix(half=0.0):
    """The 3x3 camera matrix; `half` is taken off the center."""
    return np.array([[FOCAL[0], 0, CENTER[0] - half], [0, FOCAL[1], CENTER[1] - half], [0, 0, 1]])


def world_to_camera(pose):
    """4x4."""
    return np.linalg.inv(np.concatenate([pose, [[0, 0, 0, 1]]]))


def square(pose):
    """The pose as 4x4."""
    return np.concatenate([pose, [[0, 0, 0, 1]]])


def photo(path, seed=0, size=(WIDTH, HEIGHT)):
    """Write a photo of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def depth(path, value=2000, size=(WIDTH, HEIGHT)):
    """Write a 16-bit depth map."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size[1], size[0]), value, np.uint16)).save(path)


def text(path, array):
    """Write a matrix as text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, np.atleast_2d(array), fmt="%.12g")


def check(listing, count=COUNT):
    """All views have the true pose, and a lens of the true numbers."""
    assert len(listing.views) == count
    for view, pose in zip(listing.views, poses(count), strict=True):
        np.testing.assert_allclose(view.matrix, pose, atol=1e-9)
        np.testing.assert_allclose(view.lens.focal, FOCAL, rtol=1e-9)
        np.testing.assert_allclose(view.lens.center, CENTER, rtol=1e-9)
