"""Sparse points of a scene, in the coordinates of its cameras."""

import warnings

import torch
from jaxtyping import Float
from torch import Tensor

from scorereg.cameras import Cameras
from scorereg.files import Listing
from scorereg.files.layouts import colmap_files
from scorereg.scenes.ply import read_ply

__all__ = ["read_points"]

_SAMPLE = 10_000  # points by which two frames are compared
_PART = 0.5  # share of the other frame's points in view, below which the given one is not that of the points


def read_points(listing: Listing, cameras: Cameras, offset: tuple[float, float, float]) -> Float[Tensor, "p 3"]:
    """Read the points of a PLY file or a COLMAP model, in float64, and count them from the offset, in float32.

    Points are in the coordinates of the poses. Older versions of nerfstudio left them in those before
    `applied_transform`: they are moved by it, with a warning, where cameras see at least twice as many of them then.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is damaged.
    """
    path = listing.points
    assert path is not None, "asked of listings with points only"
    points = read_ply(path) if path.suffix.lower() == ".ply" else torch.from_numpy(colmap_files.read_points(path))
    center = torch.tensor(offset, dtype=torch.float64)
    if listing.applied is not None and len(points):
        matrix = torch.tensor(listing.applied, dtype=torch.float64).reshape(3, 4)
        moved = points @ matrix[:, :3].T + matrix[:, 3]
        seen = [_seen((x - center)[:: 1 + len(x) // _SAMPLE].float(), cameras) for x in (points, moved)]
        if seen[0] < _PART * seen[1]:
            warnings.warn(f"{path}: its points lack applied_transform, so they are moved by it.", stacklevel=5)
            points = moved
    return (points - center).float()


def _seen(points: Float[Tensor, "p 3"], cameras: Cameras) -> int:
    return int(cameras.visible(points[points.isfinite().all(-1)]).sum())
