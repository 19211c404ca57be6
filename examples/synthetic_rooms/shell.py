"""The shell of a room: floor, walls with windows and a door, a flat or sloped ceiling; rectangles and L shapes.

The floor is a rectangle around the origin, x in [-w/2, w/2] and z in [-d/2, d/2], perhaps without one of its corners.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from examples.synthetic_rooms import materials
from examples.synthetic_rooms.parts import Material, Part, box, quad

__all__ = ["Shell", "Wall", "Window", "make_shell"]

Rng = np.random.Generator


@dataclass(frozen=True, eq=False)
class Wall:
    """One wall, seen from within from its left end to its right one.

    Args:
        start: Left end (x, z).
        along: Unit vector (x, z) to the right.
        normal: Unit vector (x, z) into the room.
        length: In metres.
    """

    start: np.ndarray
    along: np.ndarray
    normal: np.ndarray
    length: float

    def at(self, u: float, y: float, out: float = 0.0) -> np.ndarray:
        """The point u metres along, at height y, `out` metres into the room."""
        x, z = self.start + u * self.along + out * self.normal
        return np.array([x, y, z])

    def panel(self, u: tuple[float, float], low: float, high: tuple[float, float], out: float = 0.0) -> np.ndarray:
        """Corners of a part of the wall, between two places along it and from a height up to two others."""
        left, right = u
        return np.stack([self.at(left, low, out), self.at(right, low, out), self.at(right, high[1], out),
                         self.at(left, high[0], out)])  # fmt: skip


@dataclass(frozen=True, eq=False)
class Window:
    """An opening in a wall: places along it, heights, and how thick the wall is."""

    wall: Wall
    u: tuple[float, float]
    y: tuple[float, float]
    deep: float


@dataclass(frozen=True, eq=False)
class Shell:
    """The empty room.

    Args:
        size: Width and depth of the rectangle, metres.
        cut: The missing corner (x0, x1, z0, z1), None if it is a rectangle.
        ceiling: Height is `ceiling[0] + ceiling[1] x + ceiling[2] z`.
        walls: Around the room.
        windows: All of them.
        doors: Walls and places (from, to) along them where doors are.
        parts: Floor, ceiling, walls, doors, skirting.
    """

    size: tuple[float, float]
    cut: tuple[float, float, float, float] | None
    ceiling: tuple[float, float, float]
    walls: list[Wall]
    windows: list[Window]
    doors: list[tuple[Wall, float, float]]
    parts: list[Part]

    def height(self, x: float, z: float) -> float:
        """Of the ceiling above a place."""
        return self.ceiling[0] + self.ceiling[1] * x + self.ceiling[2] * z

    def lowest(self, x0: float, x1: float, z0: float, z1: float) -> float:
        """Of the ceiling above a rectangle."""
        return min(self.height(x, z) for x in (x0, x1) for z in (z0, z1))

    def holds(self, x0: float, x1: float, z0: float, z1: float) -> bool:
        """Whether a rectangle lies on the floor."""
        w, d = self.size
        if x0 < -w / 2 or x1 > w / 2 or z0 < -d / 2 or z1 > d / 2:
            return False
        c = self.cut
        return c is None or x1 <= c[0] or x0 >= c[1] or z1 <= c[2] or z0 >= c[3]


def make_shell(rng: Rng, images: list[Path]) -> Shell:
    """Draw a room's shape, openings and surfaces."""
    w, d = rng.uniform(2.4, 7.5), rng.uniform(2.4, 7.5)
    cut = _corner(rng, w, d) if rng.random() < 0.35 and min(w, d) > 3.2 else None
    ceiling = _ceiling(rng, w, d)
    walls = _walls(w, d, cut)
    shell = Shell((w, d), cut, ceiling, walls, [], [], [])
    for wall in walls:
        shell.windows.extend(_windows(rng, shell, wall))
    shell.doors.extend(_doors(rng, shell))
    shell.parts.extend(_surfaces(rng, shell, images))
    return shell


def _corner(rng: Rng, w: float, d: float) -> tuple[float, float, float, float]:
    a, b = w * rng.uniform(0.3, 0.55), d * rng.uniform(0.3, 0.55)
    x = (-w / 2, -w / 2 + a) if rng.random() < 0.5 else (w / 2 - a, w / 2)
    z = (-d / 2, -d / 2 + b) if rng.random() < 0.5 else (d / 2 - b, d / 2)
    return (*x, *z)


def _ceiling(rng: Rng, w: float, d: float) -> tuple[float, float, float]:
    if rng.random() < 0.72:
        return rng.uniform(2.25, 3.3), 0.0, 0.0
    low, high = rng.uniform(1.5, 2.1), rng.uniform(2.7, 3.8)  # under a roof
    slope = (high - low) * rng.choice([-1, 1])
    return ((low + high) / 2, slope / w, 0.0) if rng.random() < 0.5 else ((low + high) / 2, 0.0, slope / d)


def _walls(w: float, d: float, cut: tuple[float, float, float, float] | None) -> list[Wall]:
    corners = [(-w / 2, -d / 2), (w / 2, -d / 2), (w / 2, d / 2), (-w / 2, d / 2)]
    if cut is not None:
        x0, x1, z0, z1 = cut
        k = next(i for i, (x, z) in enumerate(corners) if x in (x0, x1) and z in (z0, z1))
        inner = (x1 if x0 == -w / 2 else x0, z1 if z0 == -d / 2 else z0)
        (_, pz), (cx, cz), (nx, _) = corners[k - 1], corners[k], corners[(k + 1) % 4]
        first = (inner[0], cz) if pz == cz else (cx, inner[1])  # on the way in, then the inner corner, then the way out
        last = (cx, inner[1]) if nx == cx else (inner[0], cz)
        corners = [*corners[:k], first, inner, last, *corners[k + 1 :]]
    walls = []
    for a, b in zip(corners, [*corners[1:], corners[0]], strict=True):
        start, end = np.array(a), np.array(b)
        length = float(np.linalg.norm(end - start))
        along = (end - start) / length
        walls.append(Wall(start, along, np.array([-along[1], along[0]]), length))
    return walls


def _top(shell: Shell, wall: Wall, u: float) -> float:
    x, _, z = wall.at(u, 0)
    return shell.height(x, z)


def _windows(rng: Rng, shell: Shell, wall: Wall) -> list[Window]:
    count = int(rng.choice([0, 1, 2], p=[0.55, 0.33, 0.12]))
    room = wall.length / max(count, 1)
    windows = []
    for k in range(count):
        width = rng.uniform(0.5, 2.2)
        low = rng.choice([0.05, rng.uniform(0.5, 1.2)], p=[0.2, 0.8])
        u = k * room + rng.uniform(0.25, max(room - width - 0.25, 0.26))
        high = min(low + rng.uniform(0.7, 2.0), min(_top(shell, wall, u), _top(shell, wall, u + width)) - 0.15)
        if u + width < (k + 1) * room - 0.2 and high - low > 0.5:
            windows.append(Window(wall, (u, u + width), (low, high), rng.uniform(0.08, 0.35)))
    return windows


def _doors(rng: Rng, shell: Shell) -> list[tuple[Wall, float, float]]:
    doors = []
    for wall in shell.walls:
        free = not any(window.wall is wall for window in shell.windows)
        u = rng.uniform(0.15, max(wall.length - 1.1, 0.16))
        fits = u + 1.0 < wall.length and min(_top(shell, wall, u), _top(shell, wall, u + 0.9)) > 2.15
        if free and fits and rng.random() < 0.45:
            doors.append((wall, u, u + 0.9))
    return doors


def _surfaces(rng: Rng, shell: Shell, images: list[Path]) -> list[Part]:
    ground, above = materials.floor(rng, images), Material(tuple(rng.uniform(0.55, 0.88) * rng.uniform(0.95, 1.0, 3)))
    if rng.random() < 0.15:
        above = materials.wall(rng, images)
    common, parts = materials.wall(rng, images), []
    for x0, x1, z0, z1 in _rectangles(shell):
        flat = np.array([[x0, 0, z1], [x1, 0, z1], [x1, 0, z0], [x0, 0, z0]])
        part = quad(flat, ground)
        parts.append(Part(part.vertices, part.faces, flat[:, [0, 2]], ground))
        roof = np.array([[x, shell.height(x, z), z] for x, z in ((x0, z0), (x1, z0), (x1, z1), (x0, z1))])
        parts.append(Part(roof, part.faces, roof[:, [0, 2]], above))
    for wall in shell.walls:
        paint = common if rng.random() < 0.75 else materials.wall(rng, images)
        parts += _wall_parts(shell, wall, paint)
    frame = materials.plain(rng, 0.3, 0.9)
    for window in shell.windows:
        parts += _frame_parts(rng, window, frame)
    for wall, left, right in shell.doors:
        parts += _door_parts(rng, wall, (left, right), images)
    if rng.random() < 0.6:
        skirting = materials.plain(rng, 0.1, 0.9)
        for wall in shell.walls:
            ends = np.stack([wall.at(0, 0), wall.at(wall.length, rng.uniform(0.05, 0.12), 0.015)])
            parts.append(box(ends.min(0), ends.max(0), skirting))
    return parts


def _rectangles(shell: Shell) -> list[tuple[float, float, float, float]]:
    """The floor in one or two rectangles (x0, x1, z0, z1)."""
    w, d = shell.size
    if shell.cut is None:
        return [(-w / 2, w / 2, -d / 2, d / 2)]
    x0, x1, z0, z1 = shell.cut
    full = (-w / 2, w / 2, z1, d / 2) if z0 == -d / 2 else (-w / 2, w / 2, -d / 2, z0)
    rest = (x1, w / 2) if x0 == -w / 2 else (-w / 2, x0)
    return [full, (*rest, z0, z1)]


def _wall_parts(shell: Shell, wall: Wall, paint: Material) -> list[Part]:
    """The wall without its windows: whole columns between them, and what is below and above each."""
    windows = sorted((w for w in shell.windows if w.wall is wall), key=lambda window: window.u)
    panels, reached = [], 0.0
    for window in windows:
        left, right = window.u
        panels.append(((reached, left), 0.0, (_top(shell, wall, reached), _top(shell, wall, left))))
        panels.append((window.u, 0.0, (window.y[0], window.y[0])))
        panels.append((window.u, window.y[1], (_top(shell, wall, left), _top(shell, wall, right))))
        reached = right
    panels.append(((reached, wall.length), 0.0, (_top(shell, wall, reached), _top(shell, wall, wall.length))))
    parts = []
    for u, low, high in panels:
        corners = wall.panel(u, low, high)
        part = quad(corners, paint)
        uv = np.stack([(corners[:, [0, 2]] - wall.start) @ wall.along, -corners[:, 1]], -1)  # one pattern a wall
        parts.append(Part(part.vertices, part.faces, uv, paint))
    return parts


def _frame_parts(rng: Rng, window: Window, frame: Material) -> list[Part]:
    """The reveal, and bars across the opening."""
    (left, right), (low, high), deep, wall = window.u, window.y, window.deep, window.wall
    a, b, c, e = wall.panel(window.u, low, (high, high))
    back = wall.panel(window.u, low, (high, high), -deep)
    rim = [
        np.stack([p, q, back[j], back[i]]) for p, q, i, j in ((a, b, 0, 1), (b, c, 1, 2), (c, e, 2, 3), (e, a, 3, 0))
    ]
    parts = [quad(corners, frame) for corners in rim]
    bar = rng.uniform(0.03, 0.07)
    uprights = np.linspace(left, right, int(rng.integers(2, 5)))
    rails = np.linspace(low, high, int(rng.integers(2, 4)))
    for u in uprights:
        ends = np.stack([wall.at(u - bar / 2, low, -deep * 0.7 - 0.03), wall.at(u + bar / 2, high, -deep * 0.7)])
        parts.append(box(ends.min(0), ends.max(0), frame))
    for y in rails:
        ends = np.stack([wall.at(left, y - bar / 2, -deep * 0.7 - 0.03), wall.at(right, y + bar / 2, -deep * 0.7)])
        parts.append(box(ends.min(0), ends.max(0), frame))
    return parts


def _door_parts(rng: Rng, wall: Wall, u: tuple[float, float], images: list[Path]) -> list[Part]:
    leaf = materials.plain(rng, 0.15, 0.9) if rng.random() < 0.6 else materials.any_surface(rng, images)
    frame = materials.plain(rng, 0.1, 0.9)
    spans = [(u, (0.0, 2.0), 0.03, leaf), ((u[0] - 0.08, u[0]), (0.0, 2.08), 0.05, frame),
             ((u[1], u[1] + 0.08), (0.0, 2.08), 0.05, frame), ((u[0] - 0.08, u[1] + 0.08), (2.0, 2.08), 0.05, frame),
             ((u[0] + 0.06, u[0] + 0.16), (0.98, 1.01), 0.09, Material((0.7, 0.68, 0.6), metal=0.2))]  # fmt: skip
    parts = []
    for (left, right), (low, high), thick, material in spans:
        ends = np.stack([wall.at(left, low), wall.at(right, high, thick)])
        parts.append(box(ends.min(0), ends.max(0), material))
    return parts
