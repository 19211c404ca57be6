"""A whole room out of a seed: shell, furniture, clutter, in parts."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from examples.synthetic_rooms import materials
from examples.synthetic_rooms.clutter import make_clutter
from examples.synthetic_rooms.furniture import Model, read_model
from examples.synthetic_rooms.layout import Plan, make_plan
from examples.synthetic_rooms.parts import Material, Part, quad, turned
from examples.synthetic_rooms.shell import Shell, make_shell

__all__ = ["Room", "make_room", "solids"]


@dataclass(frozen=True, eq=False)
class Room:
    """A furnished room.

    Args:
        shell: Its shape.
        plan: What stands where.
        parts: All triangles.
        models: The models that are used, for the credits.
    """

    shell: Shell
    plan: Plan
    parts: list[Part]
    models: list[Model]


def make_room(rng: np.random.Generator, models: list[Model], images: list[Path]) -> Room:
    """Build a room.

    Args:
        rng: Decides everything.
        models: The furniture there is.
        images: Picture files for walls, floors and paintings.
    """
    shell = make_shell(rng, images)
    plan = make_plan(rng, shell, models)
    parts = list(shell.parts)
    for placed in plan.placed:
        repaint = materials.any_surface(rng, images) if rng.random() < 0.2 else None
        for part in read_model(placed.model):
            moved = turned(part, placed.degrees, (placed.x, placed.base, placed.z))
            parts.append(moved if repaint is None else replace(moved, material=repaint))
    parts += make_clutter(rng, shell, plan, images)
    return Room(shell, plan, parts, list(dict.fromkeys(placed.model for placed in plan.placed)))


def solids(room: Room) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and triangles of all that stops things, with panes in the windows, so that the room is closed."""
    panes = [quad(w.wall.panel(w.u, w.y[0], (w.y[1], w.y[1]), -w.deep), Material()) for w in room.shell.windows]
    parts = [part for part in [*room.parts, *panes] if part.solid]
    starts = np.cumsum([0, *(len(part.vertices) for part in parts[:-1])])
    faces = np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=True)])
    return np.concatenate([part.vertices for part in parts]), faces
