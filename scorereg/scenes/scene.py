"""`Scene`, photos with cameras in metres."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from scorereg.cameras import Cameras
from scorereg.scenes.kind import SceneKind, kind_of

__all__ = ["Scene", "SceneSource"]


@dataclass(frozen=True)
class SceneSource:
    """Where a scene was loaded from, by which arguments of `load_scene`.

    Args:
        path: Its folder, absolute.
        views: Number of training views that was asked for.
        max_size: Largest side in pixels that photos were reduced to; None: not reduced.
        alpha: What transparency was taken for.
        split: Positions of training and held-out views in the folder's order, where they were given.
        object_only: Whether only pixels that show the object count.
    """

    path: str
    views: int
    max_size: int | None = None
    alpha: str = "white"
    split: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    object_only: bool = False


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
            `scale * (X - offset)` here. Zero unless the poses are so far from the origin that float32 would lose their
            digits (`scenes.poses.center_of`).
        source: Where it was loaded from; None for a scene that was made otherwise.
        objects: Pixels of all views that show the object that the photos are of, as DTU's masks say. They are for
            evaluation: a fit is of whole photos. A view without such a mask shows none of it. None: no such masks.
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
    source: SceneSource | None = None
    objects: Bool[Tensor, "n h w"] | None = None

    @property
    def kind(self) -> SceneKind:
        """Forward-facing, object or inside-out: an object where there are masks of one, else by `kind_of`."""
        return kind_of(self.cameras) if self.objects is None else "object"

    def describe(self) -> str:
        """Summary in one line: views, size of the photos, kind, depth, masks, near, far, scale and offset."""
        depth = "with true depth" if self.depth is not None else "no true depth"
        if self.masks is not None:
            depth += f", {1 - self.masks.float().mean().item():.1%} of the pixels masked"
        if self.objects is not None:
            depth += f", the object on {self.objects.float().mean().item():.1%} of the pixels"
        x, y, z = self.offset
        offset = (
            f"; coordinates are counted from ({x:.10g}, {y:.10g}, {z:.10g}) of the file" if any(self.offset) else ""
        )
        return (
            f"{self.name}: {len(self.train)} training and {len(self.test)} test views of "
            f"{self.cameras.width}x{self.cameras.height}, {self.kind}, {depth}; "
            f"near {self.near:.3g} m, far {self.far:.3g} m, scale {self.scale:.4g} ({self.scale_source}){offset}"
        )

    def ball(self) -> tuple[Float[Tensor, " 3"], float]:
        """Return center and radius, in metres, of what the training cameras look at, as fields take them.

        The radius reaches halfway to the far end, or to six times the near end where the far end is very far.
        """
        cameras, radius = self.cameras[self.train], min(self.far / 2, 6 * self.near)
        return (cameras.pose[:, :, 3] + radius * cameras.pose[:, :, 2]).mean(0), radius

    def to(self, device: torch.device | str) -> "Scene":
        """The same scene, its tensors on another device."""
        moved = {name: getattr(self, name) for name in ("depth", "masks", "objects")}
        moved = {name: None if value is None else value.to(device) for name, value in moved.items()}
        return replace(self, images=self.images.to(device), cameras=self.cameras.to(device), **moved)
