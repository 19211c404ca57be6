"""`Scene`, photos with cameras in metres, and `Capture`, the same in a file's own unit."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from scorereg.cameras import Cameras

__all__ = ["MOST_SKEW", "Capture", "Scene", "checked_pose"]

MOST_SKEW = 0.05
"""Largest entry of `R^T R - I` of a valid pose. Files round their numbers, so a pose within this is replaced by the
nearest rotation; a worse one is an error."""


@dataclass(frozen=True, eq=False)
class Scene:
    """Photos with known cameras, split into training and test views.

    Args:
        name: Name of the folder.
        images: Photos of all views, in [0, 1].
        cameras: Cameras of all views, in metres.
        depth: Measured or true planar depth of all views, in metres, 0 where unknown. A fit uses that of its training
            views only where it is asked to (`fit.MeasuredDepth`); that of the others is for evaluation.
        train: Indices of the training views.
        test: Indices of the held-out views.
        near: Planar depth in metres in front of which nothing is expected.
        far: Planar depth in metres behind which nothing is expected.
        scale: Metres per unit of the file, by which poses, depth, near and far were multiplied; 1 for a metric scene.
        metric: Whether the file's own unit is the metre.
        filenames: File names of the photos, relative to the scene's folder.
        scale_source: Source of near, far and scale, in words.
        masks: Pixels of all views that count; the others take no part in a fit or its metrics. None: all count.
        offset: Center of the scene in the file's coordinates and unit, float64: a point X of the file is at
            `scale * (X - offset)` here. Zero unless the poses are so far from the origin that float32 would lose digits.
    """

    name: str
    images: Float[Tensor, "n h w 3"]
    cameras: Cameras
    depth: Float[Tensor, "n h w"] | None
    train: tuple[int, ...]
    test: tuple[int, ...]
    near: float
    far: float
    scale: float
    metric: bool
    filenames: tuple[str, ...]
    scale_source: str = ""
    masks: Bool[Tensor, "n h w"] | None = None
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def describe(self) -> str:
        """Summary in one line: views, size of the photos, near, far and scale."""
        depth = "with true depth" if self.depth is not None else "no true depth"
        return (
            f"{self.name}: {len(self.train)} training and {len(self.test)} test views of "
            f"{self.cameras.width}x{self.cameras.height}, {depth}; near {self.near:.3g} m, far {self.far:.3g} m, "
            f"scale {self.scale:.4g} ({self.scale_source})"
        )

    def ball(self) -> tuple[Float[Tensor, " 3"], float]:
        """Return center and radius, in metres, of what the training cameras look at, as fields take them.

        The radius reaches halfway to the far end, or to six times the near end where the far end is very far.
        """
        cameras, radius = self.cameras[self.train], min(self.far / 2, 6 * self.near)
        return (cameras.pose[:, :, 3] + radius * cameras.pose[:, :, 2]).mean(0), radius

    def to(self, device: torch.device | str) -> "Scene":
        """The same scene, its tensors on another device."""
        depth, masks = (None if x is None else x.to(device) for x in (self.depth, self.masks))
        return replace(self, images=self.images.to(device), cameras=self.cameras.to(device), depth=depth, masks=masks)


@dataclass(frozen=True, eq=False)
class Capture:
    """Photos with cameras as a file describes them, in the file's own unit of length.

    Args:
        images: Photos of all views, in [0, 1].
        cameras: Cameras of all views.
        filenames: File names of the photos, relative to the scene's folder.
        train: Indices of the training views.
        test: Indices of the held-out views.
        depth: True planar depth of all views, 0 where unknown.
        metric: Whether the file's unit is the metre.
        bounds: Near and far of the training views as the file gives them, without a margin.
        points: Sparse points in world coordinates.
    """

    images: Float[Tensor, "n h w 3"]
    cameras: Cameras
    filenames: tuple[str, ...]
    train: tuple[int, ...]
    test: tuple[int, ...]
    depth: Float[Tensor, "n h w"] | None = None
    metric: bool = False
    bounds: tuple[float, float] | None = None
    points: Float[Tensor, "p 3"] | None = None


def checked_pose(pose: Float[Tensor, "3 4"], name: str) -> Float[Tensor, "3 4"]:
    """Check a pose, and replace its 3x3 part by the nearest rotation (by SVD).

    Args:
        pose: World-from-camera.
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
    return torch.cat([u @ v, pose[:, 3:].double()], 1).float()
