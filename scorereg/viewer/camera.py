"""The browser's camera as one of the library's, and back: both have OpenCV's axes, x right, y down, z forward."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from scorereg.cameras import Cameras

__all__ = ["browser_camera", "fov_of", "is_camera", "quaternion_of", "smaller", "up_of", "window_around"]

_FAR = 1e9  # metres


def is_camera(camera: Any) -> bool:
    """Whether a browser's view can be rendered: it sends what it likes."""
    try:
        numbers = [float(x) for x in (*camera.wxyz, *camera.position, camera.fov, camera.aspect)]
    except (TypeError, ValueError, ZeroDivisionError):
        return False
    return len(numbers) == 9 and all(abs(x) < _FAR for x in numbers) and any(abs(x) > 1e-6 for x in numbers[:4])


def browser_camera(camera: Any, longest: int) -> Cameras:
    """Return the pinhole camera of a browser's view, with pictures of a size that is bearable to render.

    Args:
        camera: A camera handle of viser: `wxyz`, `position`, `fov` (vertical, radians) and `aspect`.
        longest: Pixels of the longer side.
    """
    aspect = min(max(float(camera.aspect), 1 / 8), 8.0)
    width = longest if aspect >= 1 else max(round(longest * aspect), 1)
    height = max(round(width / aspect), 1) if aspect >= 1 else longest
    focal = height / 2 / math.tan(min(max(float(camera.fov), 0.01), 3.1) / 2)
    origin = torch.tensor([float(x) for x in camera.position])
    pose = torch.cat([rotation_of([float(x) for x in camera.wxyz]), origin[:, None]], 1)[None]
    center = torch.tensor([[width / 2, height / 2]])
    return Cameras(pose, torch.tensor([[focal, focal]]), center, width, height)


def smaller(camera: Cameras, step: int) -> Cameras:
    """Return a camera that shows the same with pixels `step` times as large."""
    width, height = max(camera.width // step, 1), max(camera.height // step, 1)
    pitch = torch.tensor([[camera.width / width, camera.height / height]])
    return camera.windows(torch.zeros(1, 2), pitch, width=width, height=height)


def window_around(camera: Cameras, at: tuple[float, float], *, size: int, focal: float) -> Cameras:
    """Return a square window of a camera's image plane around a place, at another focal length.

    Args:
        camera: One camera.
        at: The place, in shares of the picture's width and height, from its upper left corner.
        size: Pixels of a side.
        focal: Focal length of the window in pixels.
    """
    pixel = torch.tensor([[at[0] * camera.width, at[1] * camera.height]])
    place = (pixel - camera.center) / camera.focal
    return Cameras(camera.pose, torch.full((1, 2), focal), size / 2 - focal * place, size, size)


def fov_of(cameras: Cameras) -> float:
    """Return the mean vertical field of view, in radians."""
    return 2 * math.atan(cameras.height / 2 / cameras.focal[:, 1].mean().item())


def up_of(cameras: Cameras) -> Float[Tensor, " 3"]:
    """Return the direction that is up in most pictures: the mean of the cameras' own, without its sideways part.

    The cameras' axes to the right are level if they were held level, so up is at right angles to all of them; where
    they do not spread, or were not held level, it is the mean of what is up in the pictures.
    """
    right, up = cameras.pose[:, :, 0].double(), -cameras.pose[:, :, 1].double()
    mean = up.mean(0)
    if mean.norm() < 1e-3:
        return torch.nn.functional.normalize(up[0], dim=0).float()
    values, vectors = torch.linalg.eigh(right.T @ right / len(right))
    level = vectors[:, 0] * torch.sign(vectors[:, 0] @ mean)
    mean = torch.nn.functional.normalize(mean, dim=0)
    clear = values[0] < 1e-3 < 0.1 * values[1] and level @ mean > math.cos(math.radians(40))
    return (level if clear else mean).float()


def rotation_of(wxyz: Sequence[float]) -> Float[Tensor, "3 3"]:
    """Return the rotation of a quaternion (w, x, y, z) of any length above 0."""
    w, x, y, z = (part / math.sqrt(sum(q * q for q in wxyz)) for part in wxyz)
    rows = [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)]
    rows += [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)]
    rows += [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]
    return rearrange(torch.tensor(rows), "(i j) -> i j", i=3)


def quaternion_of(rotation: Float[Tensor, "3 3"]) -> tuple[float, float, float, float]:
    """Return the unit quaternion (w, x, y, z) of a rotation, w >= 0: the best conditioned row of 4 q q^T."""
    a, b, c, d, e, f, g, h, i = rotation.double().flatten().tolist()
    rows = torch.tensor(
        [
            [1 + a + e + i, h - f, c - g, d - b],
            [h - f, 1 + a - e - i, b + d, c + g],
            [c - g, b + d, 1 - a + e - i, f + h],
            [d - b, c + g, f + h, 1 - a - e + i],
        ]
    )
    row = torch.nn.functional.normalize(rows[rows.diagonal().argmax()], dim=0)
    w, x, y, z = (row if row[0] >= 0 else -row).tolist()
    return w, x, y, z
