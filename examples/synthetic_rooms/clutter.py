"""What makes a room lived in, made without models: rugs, pictures, books, boxes, vases, cushions, shelves, curtains."""

from pathlib import Path

import numpy as np

from examples.synthetic_rooms import materials
from examples.synthetic_rooms.layout import Plan, clear
from examples.synthetic_rooms.parts import Part, box, lathe, quad, turned
from examples.synthetic_rooms.shell import Shell, Wall, Window

__all__ = ["make_clutter"]

Rng = np.random.Generator


def make_clutter(rng: Rng, shell: Shell, plan: Plan, images: list[Path]) -> list[Part]:
    """All of it, of a room that has its furniture."""
    parts: list[Part] = []
    for k in range(int(rng.choice([0, 1, 2, 3], p=[0.35, 0.4, 0.15, 0.1]))):
        parts += _rug(rng, shell, images, 0.004 + 0.006 * k)
    for wall in shell.walls:
        parts += _on_wall(rng, shell, plan, wall, images)
    for top in plan.tops:
        for _ in range(int(rng.integers(0, 4))):
            x0, x1, z0, z1 = top.rectangle
            x, z = rng.uniform(x0 + 0.12, max(x1 - 0.12, x0 + 0.13)), rng.uniform(z0 + 0.12, max(z1 - 0.12, z0 + 0.13))
            maker = (_stack, _row, _vase, _carton)[int(rng.choice(4, p=[0.35, 0.25, 0.25, 0.15]))]
            limit = max(min(x1 - x0, z1 - z0) * 0.7, 0.05)
            parts += [turned(p, rng.uniform(0, 360), (x, top.y, z)) for p in maker(rng, images, limit)]
    for _ in range(int(rng.integers(0, 9))):
        parts += _on_floor(rng, shell, plan, images)
    for window in shell.windows:
        if rng.random() < 0.5:
            parts += _curtains(rng, shell, window, images)
    return parts


def _rug(rng: Rng, shell: Shell, images: list[Path], thick: float) -> list[Part]:
    w, d = rng.uniform(0.6, min(3.0, shell.size[0])), rng.uniform(0.6, min(3.0, shell.size[1]))
    x, z = (rng.uniform(-(side - s) / 2, (side - s) / 2) for side, s in zip(shell.size, (w, d), strict=True))
    if not shell.holds(x - w / 2, x + w / 2, z - d / 2, z + d / 2):
        return []
    material = materials.any_surface(rng, images)
    if rng.random() < 0.25:
        r = min(w, d) / 2
        return [turned(lathe(np.array([r, r, 0]), np.array([0, thick, thick]), material, slices=40), 0, (x, 0.001, z))]
    return [box(np.array([x - w / 2, 0.001, z - d / 2]), np.array([x + w / 2, thick, z + d / 2]), material, tile=w)]


def _on_wall(rng: Rng, shell: Shell, plan: Plan, wall: Wall, images: list[Path]) -> list[Part]:
    """Pictures in frames, one or a row of them, and shelves with books."""
    parts: list[Part] = []
    spans = [w.u for w in shell.windows if w.wall is wall] + [(a, b) for o, a, b in shell.doors if o is wall]
    for _ in range(int(rng.integers(0, 4))):
        width, height = rng.uniform(0.2, min(1.3, wall.length * 0.6)), rng.uniform(0.2, 0.9)
        u, y = rng.uniform(0.1, max(wall.length - width - 0.1, 0.11)), rng.uniform(1.0, 1.6)
        roof = min(shell.height(*wall.at(v, 0)[[0, 2]]) for v in (u, u + width))
        if u + width > wall.length or y + height > roof - 0.1 or any(a < u + width and b > u for a, b in spans):
            continue
        spans.append((u, u + width))
        parts += _picture(rng, wall, u, y, (width, height), images)
    width = rng.uniform(0.5, 1.4)
    u, y = rng.uniform(0.1, max(wall.length - width - 0.1, 0.11)), rng.uniform(1.1, 1.7)
    free = u + width < wall.length and not any(a < u + width and b > u for a, b in spans)
    middle = wall.at(u + width / 2, 0, 0.12)
    if rng.random() < 0.3 and free and y + 0.5 < shell.lowest(middle[0], middle[0], middle[2], middle[2]):
        parts += _shelf(rng, wall, u, y, width, images)
    return parts


def _picture(rng: Rng, wall: Wall, u: float, y: float, size: tuple[float, float], images: list[Path]) -> list[Part]:
    w, h = size
    rim, thick = rng.uniform(0.0, 0.06), rng.uniform(0.012, 0.04)
    ends = np.stack([wall.at(u, y), wall.at(u + w, y + h, thick)])
    parts = [box(ends.min(0), ends.max(0), materials.plain(rng, 0.03, 0.9))]
    inner = wall.panel((u + rim, u + w - rim), y + rim, (y + h - rim, y + h - rim), thick + 0.002)
    part = quad(inner, materials.painting(rng, images))
    whole = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], float)  # the picture once, its first row on top
    return [*parts, Part(part.vertices, part.faces, whole, part.material)]


def _shelf(rng: Rng, wall: Wall, u: float, y: float, width: float, images: list[Path]) -> list[Part]:
    deep = rng.uniform(0.15, 0.28)
    ends = np.stack([wall.at(u, y), wall.at(u + width, y + 0.025, deep)])
    parts = [box(ends.min(0), ends.max(0), materials.any_surface(rng, images))]
    degrees = float(np.rad2deg(np.arctan2(wall.normal[0], wall.normal[1])))
    for part in _row(rng, images, width * rng.uniform(0.3, 0.95)):
        parts.append(turned(part, degrees, wall.at(u + width / 2, y + 0.025, deep / 2)))
    return parts


def _row(rng: Rng, images: list[Path], limit: float) -> list[Part]:
    """Books that stand side by side."""
    parts, reached = [], -limit / 2
    for _ in range(int(rng.integers(3, 30))):
        thick, high, deep = rng.uniform(0.012, 0.05), rng.uniform(0.16, 0.32), rng.uniform(0.11, 0.2)
        if reached + thick > limit / 2:
            break
        corner = np.array([reached, 0, -deep / 2])
        parts.append(box(corner, corner + np.array([thick, high, deep]), materials.plain(rng, 0.03, 0.9)))
        reached += thick + rng.exponential(0.002)
    return parts


def _stack(rng: Rng, images: list[Path], limit: float) -> list[Part]:
    """Books that lie on each other."""
    parts, y = [], 0.0
    for _ in range(int(rng.integers(1, 7))):
        w, d, h = rng.uniform(0.12, 0.22), rng.uniform(0.16, 0.3), rng.uniform(0.012, 0.05)
        scale = min(1, limit / np.hypot(w, d))
        half = np.array([w * scale / 2, 0, d * scale / 2])
        book = box(-half, half + np.array([0, h, 0]), materials.plain(rng, 0.03, 0.9))
        parts.append(turned(book, rng.normal(0, 12), (0, y, 0)))
        y += h
    return parts


def _carton(rng: Rng, images: list[Path], limit: float) -> list[Part]:
    w, d, h = (rng.uniform(0.3, 1) * limit for _ in range(3))
    half = np.array([w / 2, 0, d / 2])
    return [box(-half, half + np.array([0, h, 0]), materials.any_surface(rng, images), tile=max(w, d))]


def _vase(rng: Rng, images: list[Path], limit: float) -> list[Part]:
    """A smooth closed profile, turned: a vase, a bowl, a bottle."""
    high, wide = rng.uniform(0.06, 0.4), min(rng.uniform(0.04, 0.13), limit / 2)
    t = np.linspace(0, 1, 14)
    wave = 0.65 + 0.35 * np.sin(rng.uniform(0, 6) + t * rng.uniform(2, 7))
    radii = np.concatenate([[0.0], wide * wave, [wide * wave[-1] * 0.85, 0.0]])
    heights = np.concatenate([[0.0], high * t, [high * 0.97, high * 0.4]])
    return [lathe(radii, heights, materials.any_surface(rng, images))]


def _on_floor(rng: Rng, shell: Shell, plan: Plan, images: list[Path]) -> list[Part]:
    """A box, a pile of books, a vase or a cushion, where nothing stands."""
    maker, limit = ((_carton, 0.6), (_stack, 0.4), (_vase, 0.3), (_cushion, 0.5))[int(rng.integers(4))]
    for _ in range(10):
        w, d = shell.size
        x, z = rng.uniform(-w / 2 + 0.3, w / 2 - 0.3), rng.uniform(-d / 2 + 0.3, d / 2 - 0.3)
        around = (x - limit / 2, x + limit / 2, z - limit / 2, z + limit / 2)
        if shell.holds(*around) and clear(plan, around) and shell.lowest(*around) > 1:
            plan.taken.append(around)
            return [turned(part, rng.uniform(0, 360), (x, 0, z)) for part in maker(rng, images, limit)]
    return []


def _cushion(rng: Rng, images: list[Path], limit: float) -> list[Part]:
    """A soft square: a superellipsoid."""
    n = 16
    a, b = np.meshgrid(np.linspace(-np.pi / 2, np.pi / 2, n), np.linspace(-np.pi, np.pi, 2 * n), indexing="ij")

    def power(value: np.ndarray, exponent: float) -> np.ndarray:
        return np.sign(value) * np.abs(value) ** exponent

    half, thick = limit / 2 * rng.uniform(0.6, 0.95), rng.uniform(0.04, 0.1)
    x = half * power(np.cos(a), 0.8) * power(np.cos(b), 0.5)
    z = half * power(np.cos(a), 0.8) * power(np.sin(b), 0.5)
    y = thick * (1 + np.sin(a))
    i, j = np.meshgrid(np.arange(n - 1), np.arange(2 * n - 1), indexing="ij")
    p = (i * 2 * n + j).ravel()
    faces = np.concatenate([np.stack([p, p + 2 * n, p + 1], -1), np.stack([p + 1, p + 2 * n, p + 2 * n + 1], -1)])
    vertices = np.stack([x, y, z], -1).reshape(-1, 3)
    return [Part(vertices, faces, vertices[:, [0, 2]] / limit, materials.any_surface(rng, images))]


def _curtains(rng: Rng, shell: Shell, window: Window, images: list[Path]) -> list[Part]:
    """Cloth in waves at both sides of a window."""
    wall, (left, right), cloth = window.wall, window.u, materials.any_surface(rng, images, 0.15, 0.85)
    width = (right - left) * rng.uniform(0.15, 0.4)
    top = window.y[1] + 0.08
    low = 0.03 if rng.random() < 0.6 else max(window.y[0] - 0.15, 0.03)
    parts = []
    for start in (max(left - 0.7 * width, 0.02), min(right - 0.3 * width, wall.length - width - 0.02)):
        if start < 0:
            continue
        u = np.linspace(start, start + width, 60)
        out = 0.07 + 0.03 * np.sin(u * rng.uniform(40, 90) + rng.uniform(0, 6))
        below, above = (np.stack([wall.at(a, y, b) for a, b in zip(u, out, strict=True)]) for y in (low, top))
        k = np.arange(59)
        faces = np.concatenate([np.stack([k, k + 1, k + 61], -1), np.stack([k, k + 61, k + 60], -1)])
        uv = np.concatenate([np.stack([u * 1.3, np.full(60, y)], -1) for y in (-low, -top)])
        parts.append(Part(np.concatenate([below, above]), faces, uv, cloth))
    return parts
