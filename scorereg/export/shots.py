"""Cameras to render a fit from: those of its photos, paths around and between them, or those of a file."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from scorereg.cameras import Cameras, interpolate_poses
from scorereg.fit.views import picture_names
from scorereg.scenes import Scene, camera_path

__all__ = ["PATHS", "Shot", "resized", "shots_of"]

PATHS = ("spiral", "orbit", "between")
"""Kinds of cameras that follow each other, as those of a film."""

_ROUND = 24  # frames of a path, if no number is given; of `between` from each photo to the next


@dataclass(frozen=True, eq=False)
class Shot:
    """A camera and what its picture is called.

    Args:
        name: Without an ending.
        camera: One camera, in the fit's coordinates.
    """

    name: str
    camera: Cameras


def shots_of(scene: Scene, kind: str, frames: int | None = None) -> list[Shot]:
    """Return cameras of a scene by the name of their kind.

    Args:
        scene: The scene of a fit.
        kind: `"test"`, `"train"` or `"all"`: those of the photos; `"spiral"`: an ellipse around the training cameras,
            as `scenes.camera_path`; `"orbit"`: a circle around the point that they look at, at their mean height and
            distance; `"between"`: from each training camera to the next.
        frames: Number of cameras. If not given, all of the photos, 24 around, and 24 from each photo to the next; of
            more photos than that those are taken that spread evenly.

    Raises:
        ValueError: If the kind is unknown, no view is of it, or the number is below 1.
    """
    train = scene.cameras.to("cpu")[scene.train]
    if frames is not None and frames < 1:
        raise ValueError(f"--frames is the number of cameras, at least 1, but is {frames}.")
    if kind == "spiral":
        return _numbered(camera_path(train, frames or _ROUND, depth=(scene.near * scene.far) ** 0.5))
    if kind == "orbit":
        return _numbered(_orbit(train, frames or _ROUND, scene))
    if kind == "between":
        return _numbered(_between(train, frames))
    chosen = {"test": scene.test, "train": scene.train, "all": tuple(range(len(scene.filenames)))}.get(kind)
    if chosen is None:
        raise ValueError(f"--cameras must be test, train, all, {', '.join(PATHS)} or a .json file, but is {kind!r}.")
    if not chosen:
        raise ValueError(f"{scene.name}: the fit has no held-out views. Give --cameras train, or a path.")
    count = min(frames or len(chosen), len(chosen))
    chosen = [chosen[i * len(chosen) // count] for i in range(count)]
    names = picture_names([Path(name) for name in scene.filenames])  # of all: the same name in every kind
    return [Shot(names[i], scene.cameras.to("cpu")[i]) for i in chosen]


def resized(shots: list[Shot], size: int | None = None, factor: float | None = None) -> list[Shot]:
    """Return the shots with pictures of another size, which show the same.

    Args:
        shots: The shots.
        size: Longer side in pixels.
        factor: Factor on both sides, in place of it.

    Raises:
        ValueError: If both are given, or one is out of its range.
    """
    if size is not None and factor is not None:
        raise ValueError("--size and --scale both set the pictures' size. Give one of them.")
    if (size is not None and not 1 <= size <= _MOST) or (factor is not None and not 0 < factor < math.inf):
        raise ValueError(f"--size must be 1 to {_MOST} and --scale above 0, got {size if factor is None else factor}.")
    return [Shot(shot.name, _with_size(shot.camera, size, factor)) for shot in shots]


_MOST = 16_384  # pixels of a side


def _with_size(camera: Cameras, size: int | None, factor: float | None) -> Cameras:
    longer = max(camera.width, camera.height)
    factor = size / longer if size is not None else 1.0 if factor is None else factor
    if factor == 1:
        return camera
    width, height = (max(round(side * factor), 1) for side in (camera.width, camera.height))
    if max(width, height) > _MOST:
        raise ValueError(f"--scale {factor:g} makes pictures of {width}x{height}; a side may have {_MOST} pixels.")
    pitch = torch.tensor([[camera.width / width, camera.height / height]])
    return camera.windows(torch.zeros(1, 2), pitch, width=width, height=height)


def _numbered(cameras: Cameras) -> list[Shot]:
    return [Shot(f"{i:04}", cameras[i]) for i in range(len(cameras))]


def _between(cameras: Cameras, frames: int | None) -> Cameras:
    """Cameras from each of the given ones to the next, both ends among them."""
    count = frames or _ROUND * (len(cameras) - 1) + 1
    place = torch.linspace(0, len(cameras) - 1, count)
    first = place.floor().long().clamp(max=max(len(cameras) - 2, 0))
    second, share = (first + 1).clamp(max=len(cameras) - 1), place - first
    pose = interpolate_poses(cameras.pose[first], cameras.pose[second], share)
    focal, center = (torch.lerp(x[first], x[second], share[:, None]) for x in (cameras.focal, cameras.center))
    return Cameras(pose, focal, center, cameras.width, cameras.height)


def _orbit(cameras: Cameras, frames: int, scene: Scene) -> Cameras:
    """Cameras on a circle around the point that the given ones look at, upright as they are."""
    target = _looked_at(cameras, (scene.near * scene.far) ** 0.5)
    down = _downward(cameras)
    offset = cameras.origins - target
    height = offset @ down
    flat = offset - height[:, None] * down
    radius, start = flat.norm(dim=-1).mean(), torch.nn.functional.normalize(flat[0], dim=0)
    if radius < 1e-6 * scene.far:
        raise ValueError(f"{scene.name}: the cameras look along their own upright axis, so there is no orbit.")
    side = torch.linalg.cross(down, start)
    angle = 2 * math.pi * torch.arange(frames) / frames
    around = radius * (angle.cos()[:, None] * start + angle.sin()[:, None] * side)
    origins = target + around + height.mean() * down
    forward = torch.nn.functional.normalize(target - origins, dim=-1)
    right = torch.nn.functional.normalize(torch.linalg.cross(down.expand_as(forward), forward), dim=-1)
    pose = torch.stack([right, torch.linalg.cross(forward, right), forward, origins], -1)
    focal, center = (x.mean(0).expand(frames, 2) for x in (cameras.focal, cameras.center))
    return Cameras(pose, focal, center, cameras.width, cameras.height)


def _downward(cameras: Cameras) -> Float[Tensor, " 3"]:
    """The direction that upright cameras agree on: across all their right axes, however they look up or down."""
    mean = torch.nn.functional.normalize(cameras.pose[:, :, 1].mean(0), dim=0)
    right = cameras.pose[:, :, 0].double()
    values, vectors = torch.linalg.eigh(right.T @ right / len(right))
    if values[1] < 0.02 or values[0] > values[1] / 4:  # they look one way, or are turned around their axes
        return mean
    down = vectors[:, 0].float()
    return down if down @ mean > 0 else -down


def _looked_at(cameras: Cameras, depth: float) -> Float[Tensor, " 3"]:
    """The point nearest to all optical axes, by least squares; where they are parallel, at a depth before them."""
    axes, origins = cameras.pose[:, :, 2].double(), cameras.origins.double()
    across = torch.eye(3).double() - axes[:, :, None] * axes[:, None, :]
    total = across.mean(0)
    middle = (origins + depth * axes).mean(0)
    if torch.linalg.eigvalsh(total)[0] < 1e-3:
        return middle.float()
    point = torch.linalg.solve(total, (across @ origins[..., None]).mean(0))[:, 0]
    ahead = ((point - origins) * axes).sum(-1) > 0
    return (point if bool(ahead.all()) else middle).float()
