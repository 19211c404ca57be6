"""What a fit shows from one camera: color, depth, opacity and normals."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from scorereg._progress import steps
from scorereg.cameras import Cameras
from scorereg.export.normals import depth_normals
from scorereg.export.shots import Shot
from scorereg.fit import Fit

__all__ = ["LEAST_OPACITY", "Frame", "render_frames"]

LEAST_OPACITY = 0.5
"""Opacity of a ray below which its depth is unknown: most of what it shows is the background."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One rendered view, on the CPU.

    Args:
        name: What its files are called.
        camera: Its one camera, in the fit's coordinates.
        rgb: Color, in [0, 1].
        depth: Planar depth in metres, 0 where the opacity is below `LEAST_OPACITY`.
        opacity: In [0, 1].
        spread: How far the members of an ensemble differ in color: `rendering.spread_of`; None of a single fit.
        depth_spread: The same of depth.
    """

    name: str
    camera: Cameras
    rgb: Float[Tensor, "h w 3"]
    depth: Float[Tensor, "h w"]
    opacity: Float[Tensor, "h w"]
    spread: Float[Tensor, "h w"] | None = None
    depth_spread: Float[Tensor, "h w"] | None = None

    @cached_property
    def normals(self) -> Float[Tensor, "h w 3"]:
        """Unit normals in world coordinates towards the camera, 0 where unknown: `depth_normals`."""
        return depth_normals(self.depth, self.camera)

    def points(self) -> Float[Tensor, "h w 3"]:
        """World points of all pixels, in the fit's coordinates; the camera's center where depth is unknown."""
        return self.camera.image_rays(0).points(self.depth[..., None])[..., 0, :]


def render_frames(fit: Fit, shots: Sequence[Shot], what: str = "rendering") -> Iterator[Frame]:
    """Render each shot, one at a time."""
    device = fit.scene.cameras.pose.device
    for shot in steps(what, shots):
        rays = shot.camera.to(device).image_rays(0)
        rgb, depth, opacity, *spreads = fit.image(rays, spread=True)
        rgb, depth, opacity = rgb.cpu(), depth.cpu(), opacity.cpu()
        depth = torch.where(opacity >= LEAST_OPACITY, depth, 0.0)
        yield Frame(shot.name, shot.camera, rgb.clamp(0, 1), depth, opacity.clamp(0, 1),
                    *(x if x is None else x.cpu() for x in spreads))  # fmt: skip
