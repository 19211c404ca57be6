"""A camera's path with time stamps, `time tx ty tz qx qy qz qw` a line, and its pose at the times of photos."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from scorereg.files.layouts.parsing import read_table
from scorereg.files.layouts.poses import rotation_of

__all__ = ["mirrored", "read_track"]

_APART = 0.02  # seconds between a photo and the nearest pose, at most; and between poses that are interpolated
_UP = np.diag([1.0, -1.0, 1.0])


def read_track(path: Path, times: Sequence[float]) -> list[tuple[float, ...] | None]:
    """Return the world-from-camera pose at each time, 3x4 row by row; None where there is none within 20 ms.

    Between two poses that are at most 20 ms apart it is interpolated, along the line and the great circle; otherwise
    the nearest is taken, as the data set's tools do.

    Args:
        path: The file: seconds, translation in metres, quaternion with the real part last; lines in any order.
        times: Seconds.

    Raises:
        ValueError: If the file holds something else.
    """
    table = read_table(path, "lines of `time tx ty tz qx qy qz qw`")
    if table.shape[1] != 8:
        raise ValueError(f"{path} must hold lines of `time tx ty tz qx qy qz qw`, but has {table.shape[1]} columns.")
    table = table[np.isfinite(table).all(1) & (np.linalg.norm(table[:, 4:], axis=1) > 0.1)]
    table = table[np.argsort(table[:, 0], kind="stable")]
    return [_at(table, time) for time in times]


def mirrored(pose: tuple[float, ...]) -> tuple[float, ...]:
    """Return S T S with S = diag(1, -1, 1): the pose with the y axes of camera and world turned round."""
    matrix = np.array(pose).reshape(3, 4)
    return tuple(np.concatenate([_UP @ matrix[:, :3] @ _UP, _UP @ matrix[:, 3:]], 1).reshape(-1).tolist())


def _at(table: Float[np.ndarray, "n 8"], time: float) -> tuple[float, ...] | None:
    after = int(np.searchsorted(table[:, 0], time))
    around = table[max(after - 1, 0) : after + 1]
    if not len(around):
        return None
    apart = np.abs(around[:, 0] - time)
    row = around[int(apart.argmin())]
    if len(around) == 2 and 0 < around[1, 0] - around[0, 0] <= _APART and apart.min() > 0:
        row = _between(around[0], around[1], (time - around[0, 0]) / (around[1, 0] - around[0, 0]))
    elif apart.min() > _APART:
        return None
    _, tx, ty, tz, qx, qy, qz, qw = row.tolist()
    rotation = rotation_of((qw, qx, qy, qz))
    return tuple(np.concatenate([rotation, [[tx], [ty], [tz]]], 1).reshape(-1).tolist())


def _between(one: Float[np.ndarray, " 8"], two: Float[np.ndarray, " 8"], part: float) -> Float[np.ndarray, " 8"]:
    """A row between two that are near: quaternions of 20 ms are so near that their chord is the arc."""
    p, q = (row[4:] / np.linalg.norm(row[4:]) for row in (one, two))
    q = -q if p @ q < 0 else q
    row = one + part * (two - one)
    row[4:] = p + part * (q - p)
    return row
