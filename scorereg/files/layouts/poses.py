"""Poses of text files: world-from-camera of a view, or none where a tracker had lost it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from scorereg.files.layouts.parsing import read_table

__all__ = [
    "inverse", "is_lost", "lost_words", "mask_words", "object_words", "pose_of", "read_pose", "read_trajectory",
    "rotation_of",
]  # fmt: skip

_LOST = "and are no part of a scene"
_MASKS = "the masks beside its photos are used"
_OBJECTS = "its masks are those of the object"


def rotation_of(quaternion: Sequence[float]) -> Float[np.ndarray, "3 3"]:
    """Return the rotation of a quaternion (w, x, y, z), of any length above 0."""
    w, x, y, z = np.array(quaternion, np.float64) / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def inverse(rotation: Float[np.ndarray, "3 3"], translation: Sequence[float]) -> tuple[float, ...]:
    """Return the world-from-camera pose, 3x4 row by row, of a camera-from-world rotation and translation."""
    center = -rotation.T @ np.array(translation, np.float64)
    return tuple(np.concatenate([rotation.T, center[:, None]], 1).reshape(-1).tolist())


def pose_of(matrix: Float[np.ndarray, "r 4"], name: str) -> tuple[float, ...] | None:
    """Return a 3x4 or 4x4 world-from-camera matrix row by row; None if it is not finite or all zero: tracking was lost.

    Args:
        matrix: The matrix.
        name: File, and place in it, for the error.

    Raises:
        ValueError: If its last row is not (0, 0, 0, 1).
    """
    if not np.isfinite(matrix).all() or not matrix[:3, :3].any():
        return None
    if len(matrix) == 4 and np.abs(matrix[3] - [0, 0, 0, 1]).max() > 1e-6:
        raise ValueError(f"{name}: the last row of a pose must be 0 0 0 1, but is {matrix[3].tolist()}. Correct it.")
    return tuple(matrix[:3].reshape(-1).tolist())


def read_pose(path: Path) -> tuple[float, ...] | None:
    """Read a 4x4 world-from-camera matrix; None if there is no such file, or tracking was lost.

    Raises:
        ValueError: If the file holds something else.
    """
    if not path.is_file():
        return None
    table = read_table(path, "a 4x4 matrix, world from camera")
    if table.size not in (12, 16):
        raise ValueError(f"{path} must hold a 4x4 matrix, world from camera, but has {table.size} numbers. Correct it.")
    return pose_of(table.reshape(-1, 4), str(path))


def read_trajectory(path: Path, numbers: Sequence[int]) -> list[tuple[float, ...] | None]:
    """Read a file with a line of 16 or 12 numbers, a world-from-camera matrix, for each frame.

    Args:
        path: The file; without it there are no poses.
        numbers: Numbers of the frames, in order. The line of a frame is that of its number, from 0 on, or, if there are
            as many lines as frames, that of its place.

    Raises:
        ValueError: If there are too few lines, or a line holds something else.
    """
    if not path.is_file():
        return [None] * len(numbers)
    what = "a line of 16 numbers for each frame: a 4x4 matrix, world from camera"
    table = read_table(path, what)
    if table.shape[1] not in (12, 16):  # a matrix may be written in four lines
        if table.shape[1] != 4 or len(table) % 4:
            raise ValueError(f"{path} must hold {what}. Correct the file.")
        table = table.reshape(-1, 16)
    rows = range(len(numbers)) if len(table) == len(numbers) else numbers
    if max(rows, default=0) >= len(table):
        raise ValueError(f"{path} has {len(table)} poses, but there is a frame {max(rows)}. Add the missing ones.")
    return [pose_of(table[row].reshape(-1, 4), f"{path}, pose {row}") for row in rows]


def lost_words(folder: Path, lost: Sequence[str], total: int) -> tuple[str, ...]:
    """Return the line that names views without a pose among others with one; nothing if all or none have one."""
    if not lost or len(lost) == total:
        return ()
    names = ", ".join(lost[:3]) + (", ..." if len(lost) > 3 else "")
    return (f"{folder}: {len(lost)} of {total} views have no valid pose (none, not finite, or zero) {_LOST}: {names}",)


def mask_words(folder: Path) -> tuple[str, ...]:
    """Return the line that masks beside photos are used."""
    return (f"{folder}: {_MASKS}: pixels of 0 do not count",)


def object_words(source: Path) -> tuple[str, ...]:
    """Return the line that masks of a folder are those of the object, which all of a photo is fitted for."""
    return (f"{source}: {_OBJECTS}: they are for evaluation, and a fit is of whole photos",)


def is_lost(line: str) -> bool:
    """Whether a line is of the above, which training, where poses and masks play no part, does not say."""
    return any(words in line for words in (_LOST, _MASKS, _OBJECTS))
