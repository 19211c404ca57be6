"""Where furniture stands: large things first, most against walls and facing the room, chairs at tables."""

import re
from dataclasses import dataclass, field

import numpy as np

from examples.synthetic_rooms.furniture import Model
from examples.synthetic_rooms.shell import Shell, Wall

__all__ = ["Placed", "Plan", "Top", "make_plan"]

Rng = np.random.Generator
KINDS: dict[str, dict[str, float]] = {
    "living": {"Living room": 6, "Lights": 1.2, "Miscellaneous": 1, "Office": 0.5},
    "bedroom": {"Bedroom": 6, "Lights": 1, "Living room": 1.5, "Miscellaneous": 1},
    "kitchen": {"Kitchen": 6, "Living room": 1, "Miscellaneous": 0.5, "Lights": 0.5},
    "office": {"Office": 6, "Living room": 1.5, "Lights": 1, "Miscellaneous": 1},
    "bathroom": {"Bathroom": 6, "Miscellaneous": 1, "Lights": 0.3},
    "any": dict.fromkeys(("Living room", "Bedroom", "Kitchen", "Office", "Bathroom", "Miscellaneous", "Lights"), 1.0),
}
_CHANCES = (0.28, 0.2, 0.13, 0.13, 0.06, 0.2)
_CHAIR = re.compile(r"\b(chair|stool|seat)\b", re.I)
_TABLE = re.compile(r"\b(table|desk|island)\b", re.I)
_LOW = re.compile(r"coffee|bedside|tea|tennis|dressing", re.I)


@dataclass(frozen=True)
class Placed:
    """A model in the room: turned about y, moved to (x, z), lifted to `base`."""

    model: Model
    x: float
    z: float
    base: float
    degrees: float

    @property
    def rectangle(self) -> tuple[float, float, float, float]:
        """What it covers of the floor, as x0, x1, z0, z1."""
        angle = np.deg2rad(self.degrees)
        w, _, d = self.model.size
        a = (abs(w * np.cos(angle)) + abs(d * np.sin(angle))) / 2
        b = (abs(w * np.sin(angle)) + abs(d * np.cos(angle))) / 2
        return self.x - a, self.x + a, self.z - b, self.z + b


@dataclass(frozen=True)
class Top:
    """A place that small things can stand on: a rectangle at a height."""

    rectangle: tuple[float, float, float, float]
    y: float


@dataclass
class Plan:
    """What stands where.

    Args:
        kind: Of the room.
        placed: Models.
        tops: Tables, shelves, chests.
        taken: Rectangles of the floor that are covered.
    """

    kind: str
    placed: list[Placed] = field(default_factory=list)
    tops: list[Top] = field(default_factory=list)
    taken: list[tuple[float, float, float, float]] = field(default_factory=list)


def make_plan(rng: Rng, shell: Shell, models: list[Model]) -> Plan:
    """Furnish a room: sparse to crowded."""
    kind = str(rng.choice(list(KINDS), p=_CHANCES))
    plan = Plan(kind)
    large = [m for m in models if not m.small and not _CHAIR.search(m.name)]
    chairs = [m for m in models if _CHAIR.search(m.name) and not m.small and max(m.size) < 1.2]
    area = shell.size[0] * shell.size[1]
    wanted = _draw(rng, large, kind, int(area * rng.uniform(0.25, 0.85)) + 2)
    for model in sorted(wanted, key=lambda m: -m.size[0] * m.size[2]):
        placed = _find_place(rng, shell, plan, model)
        if placed is None:
            continue
        _add(plan, placed)
        if _TABLE.search(model.name) and not _LOW.search(model.name) and min(model.size) > 0.4 and chairs:
            _seat(rng, shell, plan, placed, chairs[int(rng.integers(len(chairs)))])
    for model in _draw(rng, [m for m in models if m.small and m.elevation < 0.3], kind, int(rng.integers(3, 26))):
        placed = _on_top(rng, plan, model)
        if placed is not None:
            plan.placed.append(placed)
    return plan


def clear(plan: Plan, rectangle: tuple[float, float, float, float]) -> bool:
    """Whether nothing stands on a rectangle of the floor."""
    a = rectangle
    return all(a[1] <= b[0] or a[0] >= b[1] or a[3] <= b[2] or a[2] >= b[3] for b in plan.taken)


def _draw(rng: Rng, models: list[Model], kind: str, count: int) -> list[Model]:
    """Draw categories by the room's kind first, so that large categories do not rule."""
    chances = {c: w for c, w in KINDS[kind].items() if any(m.category == c for m in models)}
    if not chances:
        return []
    share = np.array(list(chances.values()))
    drawn = rng.choice(list(chances), count, p=share / share.sum())
    by_category = {c: [m for m in models if m.category == c] for c in chances}
    return [by_category[c][int(rng.integers(len(by_category[c])))] for c in drawn]


def _add(plan: Plan, placed: Placed) -> None:
    plan.placed.append(placed)
    if placed.base < 1.2:
        plan.taken.append(placed.rectangle)
    model = placed.model
    if model.top > 0.15 and min(model.size[0], model.size[2]) > 0.25:
        plan.tops.append(Top(placed.rectangle, placed.base + model.top))


def _find_place(rng: Rng, shell: Shell, plan: Plan, model: Model) -> Placed | None:
    """A few tries: at a wall, or anywhere. None where it does not fit."""
    for _ in range(25):
        at_wall = rng.random() < 0.75 or model.elevation > 0.3
        placed = _at_wall(rng, shell, model) if at_wall else _anywhere(rng, shell, model)
        if placed is None or not shell.holds(*placed.rectangle):
            continue
        if placed.base + model.size[1] > shell.lowest(*placed.rectangle) - 0.02:
            continue
        if not clear(plan, placed.rectangle) or _in_the_way(rng, shell, placed):
            continue
        return placed
    return None


def _at_wall(rng: Rng, shell: Shell, model: Model) -> Placed | None:
    wall = shell.walls[int(rng.integers(len(shell.walls)))]
    width, _, depth = model.size
    if wall.length < width + 0.04:
        return None
    u = rng.uniform(width / 2 + 0.02, wall.length - width / 2 - 0.02)
    if rng.random() < 0.3:
        u = width / 2 + 0.02 if rng.random() < 0.5 else wall.length - width / 2 - 0.02
    x, _, z = wall.at(u, 0, depth / 2 + rng.uniform(0.02, 0.06))
    return Placed(model, x, z, model.elevation, _facing(wall.normal))


def _anywhere(rng: Rng, shell: Shell, model: Model) -> Placed:
    w, d = shell.size
    x, z = rng.uniform(-w / 2, w / 2), rng.uniform(-d / 2, d / 2)
    degrees = 90.0 * rng.integers(4) if rng.random() < 0.6 else rng.uniform(0, 360)
    return Placed(model, x, z, model.elevation, float(degrees))


def _facing(normal: np.ndarray) -> float:
    """Degrees that turn a model's front, +z, to a direction (x, z)."""
    return float(np.rad2deg(np.arctan2(normal[0], normal[1])))


def _in_the_way(rng: Rng, shell: Shell, placed: Placed) -> bool:
    """Before a door never; before a window seldom, if it is tall."""
    height = placed.base + placed.model.size[1]
    for window in shell.windows:
        tall = height > window.y[0] + 0.25
        if tall and _before(placed, window.wall, window.u, 0.3) and rng.random() < 0.85:
            return True
    return any(_before(placed, wall, (left, right), 0.7) for wall, left, right in shell.doors)


def _before(placed: Placed, wall: Wall, u: tuple[float, float], reach: float) -> bool:
    x0, x1, z0, z1 = placed.rectangle
    ends = np.stack([wall.at(u[0], 0, 0), wall.at(u[1], 0, reach)])
    low, high = ends.min(0), ends.max(0)
    return x0 < high[0] and x1 > low[0] and z0 < high[2] and z1 > low[2]


def _seat(rng: Rng, shell: Shell, plan: Plan, table: Placed, chair: Model) -> None:
    """Chairs on some sides of a table, pushed in more or less, not quite straight."""
    for side in rng.permutation(4)[: int(rng.integers(1, 5))]:
        angle = np.deg2rad(table.degrees + 90 * side)
        out = np.array([np.sin(angle), np.cos(angle)])
        half = (table.model.size[2] if side % 2 == 0 else table.model.size[0]) / 2
        away = half + chair.size[2] / 2 + rng.uniform(0.01, 0.25)
        turn = _facing(-out) + rng.normal(0, 12)
        placed = Placed(chair, table.x + away * out[0], table.z + away * out[1], 0.0, turn)
        fits = chair.size[1] < shell.lowest(*placed.rectangle)
        inner = (placed.x - 0.1, placed.x + 0.1, placed.z - 0.1, placed.z + 0.1)  # the seat may be under the table
        others = Plan("", taken=[r for r in plan.taken if r != table.rectangle])
        if fits and shell.holds(*placed.rectangle) and clear(others, inner):
            plan.placed.append(placed)
            plan.taken.append(placed.rectangle)


def _on_top(rng: Rng, plan: Plan, model: Model) -> Placed | None:
    """Of something, if there is room."""
    for _ in range(6):
        if not plan.tops:
            return None
        top = plan.tops[int(rng.integers(len(plan.tops)))]
        x0, x1, z0, z1 = top.rectangle
        degrees = float(rng.uniform(0, 360))
        a0, a1, b0, b1 = Placed(model, 0, 0, 0, degrees).rectangle
        if x1 - x0 > a1 - a0 and z1 - z0 > b1 - b0:
            x, z = rng.uniform(x0 - a0, x1 - a1), rng.uniform(z0 - b0, z1 - b1)
            return Placed(model, float(x), float(z), top.y, degrees)
    return None
