"""One picture of a field, coarse at first and then in full, drawn in pieces so that it can be dropped at any time."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from scorereg.cameras import Cameras, Rays
from scorereg.viewer.camera import smaller
from scorereg.viewer.layers import Maps
from scorereg.viewer.pace import Pace

__all__ = ["Drawing", "Wanted", "draw"]

_SHOWN = 0.6  # seconds between two deliveries of a picture that becomes sharp


@dataclass(frozen=True, eq=False)
class Wanted:
    """What a picture is to show.

    Args:
        camera: One camera with the size of the full picture.
        fit: Whose field: a `Fit`, or what has its `image` and its `scene`.
        beside: A second one, which the right part of the picture shows; None for one alone.
        divide: Where the right part begins, in shares of the width.
        base: What the same camera showed before; it stays until the new picture is there, in place of a coarse one.
    """

    camera: Cameras
    fit: Any
    beside: Any = None
    divide: float = 0.5
    base: Maps | None = None


@dataclass(frozen=True, eq=False)
class Drawing:
    """A picture so far.

    Args:
        maps: Colour, depth and opacity.
        step: Side of its pixels in pixels of the full picture; 1 where it is full, or becomes so.
        done: Whether all of it is as sharp as it will be.
    """

    maps: Maps
    step: int
    done: bool = field(default=False)


def draw(wanted: Wanted, pace: Pace) -> Iterator[Drawing | None]:
    """Yield a coarse picture, then the full one as it becomes sharp from the middle; None between the pieces."""
    camera, scene = wanted.camera, wanted.fit.scene
    if wanted.base is None:
        step = pace.step(camera.width * camera.height)
        values = yield from _pieces(wanted, smaller(camera, step) if step > 1 else camera, pace)
        yield Drawing(Maps.of(values, scene.near, scene.far), step, done=step == 1)
        if step == 1:
            return
        full = torch.nn.functional.interpolate(values.permute(2, 0, 1)[None], (camera.height, camera.width))[0]
        full = full.permute(1, 2, 0).contiguous()
    else:
        full = wanted.base.stacked()
    rays, shown = camera.image_rays(0), pace.clock()
    pace.try_out(lambda count: _rendered(wanted.fit, rays.flatten()[:count]))
    for rows in _from_the_middle(camera.height, max(pace.rays() // camera.width, 1)):
        full[rows] = _row(wanted, rays[rows], pace)
        if pace.clock() - shown > _SHOWN:
            shown = pace.clock()
            yield Drawing(Maps.of(full.clone(), scene.near, scene.far), 1)
        yield None
    yield Drawing(Maps.of(full, scene.near, scene.far), 1, done=True)


def _pieces(wanted: Wanted, camera: Cameras, pace: Pace) -> Any:
    """Render a whole picture, piece by piece; the value of the iterator is the picture."""
    rays, parts = camera.image_rays(0), []
    count = max(pace.rays() // camera.width, 1)
    for start in range(0, camera.height, count):
        parts.append(_row(wanted, rays[start : start + count], pace))
        yield None
    return torch.cat(parts)


def _row(wanted: Wanted, rays: Rays, pace: Pace) -> Float[Tensor, "h w 7"]:
    """Rows of a picture, of one fit or of two side by side."""
    with pace.timed(rays.shape.numel()):
        if wanted.beside is None:
            return _rendered(wanted.fit, rays)
        cut = round(min(max(wanted.divide, 0.0), 1.0) * rays.shape[1])
        parts = [(wanted.fit, rays[:, :cut]), (wanted.beside, rays[:, cut:])]
        return torch.cat([_rendered(fit, part) for fit, part in parts if part.shape[1]], 1)


def _rendered(fit: Any, rays: Rays) -> Float[Tensor, "*r 7"]:
    device = fit.scene.cameras.pose.device
    flat = rays.to(device).reshape(1, rays.shape.numel())
    rgb, *maps = fit.image(flat, spread=True)
    maps = [torch.full(flat.shape, torch.nan, device=device) if each is None else each for each in maps]
    return torch.cat([rgb, torch.stack(maps, -1)], -1).cpu().reshape(*rays.shape, 7)


def _from_the_middle(height: int, count: int) -> list[slice]:
    """Rows in bands, those nearest to the middle first."""
    bands = [slice(start, min(start + count, height)) for start in range(0, height, count)]
    return sorted(bands, key=lambda band: abs(band.start + band.stop - height))
