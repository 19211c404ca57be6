"""What lies in space beside the field: the photos' cameras, and points of the field."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from scorereg.cameras import Cameras
from scorereg.export import points_of, render_frames, resized, shots_of
from scorereg.fit.pictures import as_bytes
from scorereg.viewer.camera import fov_of, quaternion_of

__all__ = ["add_cameras", "add_points", "frustum_size", "start_of"]

_THUMB = 96  # pixels of a thumbnail's longer side
_TRAIN, _TEST = (255, 176, 0), (110, 150, 190)  # of frusta: photos that were trained on, and held out
_POINTS = 60_000


def frustum_size(cameras: Cameras, depth: float) -> float:
    """Return the length of frusta in metres: a fifth of the way to the next camera, 1.5 to 4.5 % of the depth."""
    if len(cameras) < 2:
        return 0.045 * depth
    apart = torch.cdist(cameras.origins, cameras.origins)
    apart.fill_diagonal_(torch.inf)
    typical = apart.min(1).values.median().item()
    return min(max(0.2 * typical, 0.015 * depth), 0.045 * depth)


def start_of(cameras: Cameras, depth: float) -> tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]]:
    """Return where a view begins and what it looks at: behind the middle of the cameras, along their mean direction."""
    middle, forward = cameras.origins.mean(0), cameras.pose[:, :, 2].mean(0)
    if forward.norm() < 0.3:  # they look all around, or at each other
        middle, forward = cameras.origins[0], cameras.pose[0, :, 2]
    forward = torch.nn.functional.normalize(forward, dim=0)
    return middle - 0.25 * depth * forward, middle + depth * forward


def add_cameras(
    server: Any,
    scene: Any,
    pictures: Float[Tensor, "n h w 3"],
    views: Sequence[int],
    *,
    depth: float,
    on_click: Callable[[Any, int], object],
) -> list[Any]:
    """Add the frusta of photos, with thumbnails; a click on one goes there.

    Args:
        server: Server of viser.
        scene: The scene of a fit.
        pictures: Pictures of the views.
        views: Their numbers.
        depth: Typical depth of the scene in metres.
        on_click: Called with the browser's handle and the view's number.

    Returns:
        The handles.
    """
    cameras = scene.cameras.to("cpu")
    size = frustum_size(cameras[list(views)], depth)
    handles = []
    for picture, view in zip(pictures, views, strict=True):
        one = cameras[view]
        handle = server.scene.add_camera_frustum(
            f"/photos/{view}", fov_of(one), one.width / one.height, scale=size, thickness=0.03 * size,
            color=_TRAIN if view in scene.train else _TEST, image=as_bytes(_thumbnail(picture)), format="jpeg",
            wxyz=quaternion_of(one.pose[0, :, :3]), position=one.origins[0].numpy(), cast_shadow=False,
            receive_shadow=False,
        )  # fmt: skip
        handle.on_click(lambda event, view=view: on_click(event.client, view))
        handles.append(handle)
    return handles


def add_points(server: Any, fit: Any, *, size: int = 160, visible: bool = True) -> Any:
    """Add points of a field: the pixels of its rendered training views, in space; None where there are none.

    Args:
        server: Server of viser.
        fit: The fit.
        size: Longer side of the views in pixels.
        visible: Whether they are shown.
    """
    shots = resized(shots_of(fit.scene, "train"), min(size, max(fit.scene.cameras.width, fit.scene.cameras.height)))
    try:
        cloud = points_of(render_frames(fit, shots, "points of the field"), count=_POINTS)
    except ValueError:  # an empty field
        return None
    typical = (fit.scene.near * fit.scene.far) ** 0.5
    return server.scene.add_point_cloud(
        "/points", cloud.points.numpy(), cloud.colors.numpy(), point_size=0.0025 * typical, point_shape="circle",
        precision="float32", point_shading="flat", visible=visible,
    )  # fmt: skip


def _thumbnail(picture: Float[Tensor, "h w 3"]) -> Float[Tensor, "i j 3"]:
    factor = max(max(picture.shape[:2]) / _THUMB, 1.0)
    size = [max(round(side / factor), 1) for side in picture.shape[:2]]
    small = torch.nn.functional.interpolate(picture.permute(2, 0, 1)[None].cpu(), size, mode="area")
    return small[0].permute(1, 2, 0)
