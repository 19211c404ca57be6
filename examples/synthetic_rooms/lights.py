"""Light of a room: sky and sun in the windows, lamps on the ceiling, hanging lamps, spots, coloured strips; or night.

Radiances are relative: each photo is exposed by its own brightness.
"""

from dataclasses import dataclass

import numpy as np

from examples.synthetic_rooms import materials
from examples.synthetic_rooms.parts import Material, Part, lathe, quad, turned
from examples.synthetic_rooms.shell import Shell

__all__ = ["Bulb", "Lights", "Spot", "make_lights"]

Rng = np.random.Generator


@dataclass(frozen=True)
class Bulb:
    """A glowing ball.

    Args:
        centre: Its middle.
        radius: In metres.
        radiance: Of its surface.
    """

    centre: tuple[float, float, float]
    radius: float
    radiance: tuple[float, float, float]


@dataclass(frozen=True)
class Spot:
    """A spotlight from the ceiling: origin, target, intensity and half angle in degrees."""

    origin: tuple[float, float, float]
    target: tuple[float, float, float]
    intensity: tuple[float, float, float]
    angle: float


@dataclass(frozen=True)
class Lights:
    """All of it.

    Args:
        panels: Glowing quadrilaterals: the sky behind windows, lamps; they do not stop things.
        bodies: What lamps are made of.
        bulbs: Glowing balls.
        spots: Spotlights.
        sun: Direction that it shines in, and its irradiance; None where it does not. Windows are then open to a sky.
        sky: Radiance of that sky.
    """

    panels: list[Part]
    bodies: list[Part]
    bulbs: list[Bulb]
    spots: list[Spot]
    sun: tuple[tuple[float, float, float], tuple[float, float, float]] | None
    sky: tuple[float, float, float]


def make_lights(rng: Rng, shell: Shell) -> Lights:
    """Draw the time of day and the lamps. Where there is no daylight, there is always a lamp."""
    lights = Lights([], [], [], [], *_daylight(rng, shell))
    strength = float(np.exp(rng.uniform(np.log(1.5), np.log(14)))) if rng.random() < 0.75 else 0.08  # or it is night
    if lights.sun is None:
        lights.panels.extend(_panes(shell, materials.sky(rng, strength)))
    dark = not shell.windows or (lights.sun is None and strength < 0.1)
    area = shell.size[0] * shell.size[1]
    tint = _tint(rng)
    if dark or rng.random() < 0.55:
        for _ in range(int(rng.integers(1, 4)) + int(area > 25)):
            _ceiling_lamp(rng, shell, lights, tint)
    if rng.random() < 0.25:
        for _ in range(int(rng.integers(1, 5))):
            lights.spots.append(_spot(rng, shell, tint))
    if rng.random() < 0.2:
        lights.panels.append(_strip(rng, shell))
    return lights


def _daylight(rng: Rng, shell: Shell) -> tuple:
    """Sun and sky: in a third of the rooms that have a window it shines through one of them."""
    sky = tuple((rng.uniform(0.5, 2.5) * np.array([0.8, 0.95, 1.15])).tolist())
    if not shell.windows or rng.random() > 0.35:
        return None, sky
    inward = shell.windows[int(rng.integers(len(shell.windows)))].wall.normal
    height, aside = np.deg2rad(rng.uniform(15, 60)), np.deg2rad(rng.uniform(-55, 55))
    turn = np.array([[np.cos(aside), -np.sin(aside)], [np.sin(aside), np.cos(aside)]])
    x, z = turn @ inward
    direction = (float(x * np.cos(height)), float(-np.sin(height)), float(z * np.cos(height)))
    low = np.array([1.0, 0.75, 0.5]) if height < 0.5 else np.array([1.0, 0.95, 0.85])
    return (direction, tuple((rng.uniform(8, 40) * low).tolist())), sky


def _panes(shell: Shell, material: Material) -> list[Part]:
    whole = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], float)
    panes = []
    for window in shell.windows:
        part = quad(
            window.wall.panel(window.u, window.y[0], (window.y[1], window.y[1]), -window.deep), material, solid=False
        )
        panes.append(Part(part.vertices, part.faces, whole, material, solid=False))
    return panes


def _tint(rng: Rng) -> np.ndarray:
    """From candles to cold tubes; one in eight is coloured."""
    if rng.random() < 0.12:
        return 0.15 + 0.85 * rng.random(3)
    warm = rng.random()
    return np.array([1.0, 0.72 + 0.23 * warm, 0.42 + 0.6 * warm])


def _ceiling_lamp(rng: Rng, shell: Shell, lights: Lights, tint: np.ndarray) -> None:
    """Flat on the ceiling, or hanging: a ball, or one under a shade."""
    w, d = shell.size
    x, z = rng.uniform(-w / 2.6, w / 2.6), rng.uniform(-d / 2.6, d / 2.6)
    if not shell.holds(x - 0.4, x + 0.4, z - 0.4, z + 0.4):
        x, z = -x, -z  # an L shape lacks one corner only
    roof = shell.lowest(x - 0.4, x + 0.4, z - 0.4, z + 0.4)
    radiance = tuple((rng.uniform(4, 18) * tint).tolist())
    if rng.random() < 0.5:
        a, b = rng.uniform(0.12, 0.4), rng.uniform(0.12, 0.6)
        if rng.random() < 0.5:
            a, b = b, a
        corners = np.array([[x - a, 0, z - b], [x + a, 0, z - b], [x + a, 0, z + b], [x - a, 0, z + b]])
        corners[:, 1] = roof - 0.02
        lights.panels.append(quad(corners, Material(glows=radiance), solid=False))
        return
    drop, radius = rng.uniform(0.15, max(roof - 1.7, 0.2)), rng.uniform(0.04, 0.16)
    y = roof - drop
    cord = lathe(np.full(2, 0.004), np.array([y + radius, roof + 0.3]), materials.plain(rng, 0.02, 0.5), slices=6)
    lights.bodies.append(turned(cord, 0, (x, 0, z)))
    if rng.random() < 0.5:
        wide = radius + rng.uniform(0.05, 0.2)
        radius *= 0.6
        shade = lathe(np.array([wide, radius * 0.7]), np.array([-0.05, wide * 0.9]), materials.plain(rng, 0.1, 0.9))
        lights.bodies.append(turned(shade, 0, (x, y, z)))
        radiance = tuple((3 * np.array(radiance)).tolist())
    lights.bulbs.append(Bulb((x, y, z), radius, radiance))


def _spot(rng: Rng, shell: Shell, tint: np.ndarray) -> Spot:
    w, d = shell.size
    x, z = rng.uniform(-w / 2.3, w / 2.3), rng.uniform(-d / 2.3, d / 2.3)
    target = (float(x + rng.normal(0, 0.7)), 0.0, float(z + rng.normal(0, 0.7)))
    intensity = tuple((rng.uniform(3, 20) * tint).tolist())
    return Spot((x, shell.height(x, z) - 0.1, z), target, intensity, float(rng.uniform(20, 50)))


def _strip(rng: Rng, shell: Shell) -> Part:
    """A thin coloured line of light along a wall."""
    wall = shell.walls[int(rng.integers(len(shell.walls)))]
    y = rng.uniform(0.1, 2.0)
    hue = tuple((rng.uniform(3, 15) * rng.random(3) ** 2).tolist())
    corners = wall.panel((0.05, wall.length - 0.05), y, (y + 0.02, y + 0.02), 0.03)
    return quad(corners, Material(glows=hue), solid=False)
