"""Between the coordinates of a fit, in metres, and those of the scene's own files: scale and offset undone.

A point X of the file is at `scale * (X - offset)` in the fit; axes are the same. The file may have a large offset, so
its coordinates are float64.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from scorereg.cameras import Cameras
from scorereg.scenes import Scene

__all__ = ["from_file", "matrices_of", "to_file"]


def to_file(points: Float[Tensor, "*n 3"], scene: Scene) -> Float[Tensor, "*n 3"]:
    """Return points of a fit in the coordinates of the scene's files, float64."""
    return points.double() / scene.scale + torch.tensor(scene.offset, dtype=torch.float64, device=points.device)


def from_file(points: Float[Tensor, "*n 3"], scene: Scene) -> Float[Tensor, "*n 3"]:
    """Return points of the scene's files in the coordinates of a fit, float32."""
    offset = torch.tensor(scene.offset, dtype=torch.float64, device=points.device)
    return (scene.scale * (points.double() - offset)).float()


def matrices_of(cameras: Cameras, scene: Scene) -> list[list[list[float]]]:
    """Return world-from-camera matrices in the scene's coordinates, with OpenGL's axes: x right, y up, z backward."""
    pose = cameras.pose.double().cpu().clone()
    pose[:, :, 3] = to_file(pose[:, :, 3], scene)
    pose[:, :, 1:3] *= -1
    last = [0.0, 0.0, 0.0, 1.0]
    return [[*matrix.tolist(), last] for matrix in pose]
