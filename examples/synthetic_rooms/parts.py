"""Triangles with a material: what a room is made of, and the simple bodies that need no model.

Lengths are metres, y is up, the floor is at 0.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

__all__ = ["Material", "Part", "box", "lathe", "quad", "turned"]


@dataclass(frozen=True, eq=False)
class Material:
    """How a surface looks.

    Args:
        colour: Linear reflectance, where there is no picture.
        pixels: A picture [h, w, 3] of linear reflectances, repeated.
        image: A picture file, repeated.
        repeat: How often the picture is repeated over a unit of texture coordinates.
        gloss: Roughness of a clear coat, None for matt.
        metal: Roughness of bare metal of that colour, None for none.
        glows: Radiance, for lamps and the sky behind a window; a number of pixels' unit, or none.
    """

    colour: tuple[float, float, float] = (0.6, 0.6, 0.6)
    pixels: np.ndarray | None = None
    image: Path | None = None
    repeat: tuple[float, float] = (1.0, 1.0)
    gloss: float | None = None
    metal: float | None = None
    glows: tuple[float, float, float] | None = None


@dataclass(frozen=True, eq=False)
class Part:
    """Triangles of one material.

    Args:
        vertices: [v, 3].
        faces: [f, 3].
        uv: Texture coordinates [v, 2].
        material: Of all.
        solid: Whether it stops light and things: no part of the sky is.
    """

    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    material: Material = field(default_factory=Material)
    solid: bool = True

    def made_of(self, material: Material) -> "Part":
        """The same body of another material."""
        return replace(self, material=material)


def quad(corners: np.ndarray, material: Material, *, tile: float = 1.0, solid: bool = True) -> Part:
    """A plane quadrilateral; texture coordinates are metres along its first edge and across it, over `tile`.

    Args:
        corners: [4, 3], around; seen from the front they run anticlockwise.
        material: Of the quadrilateral.
        tile: Metres that a picture covers.
        solid: Whether it stops things.
    """
    corners = np.asarray(corners, float)
    along = (corners[1] - corners[0]) / np.linalg.norm(corners[1] - corners[0])
    across = (corners[3] - corners[0]) - along * ((corners[3] - corners[0]) @ along)
    across = across / np.linalg.norm(across)
    uv = np.stack([(corners - corners[0]) @ along, (corners - corners[0]) @ across], -1) / tile
    return Part(corners, np.array([[0, 1, 2], [0, 2, 3]]), uv, material, solid)


def box(low: np.ndarray, high: np.ndarray, material: Material, *, tile: float = 1.0) -> Part:
    """A box with straight edges."""
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
    sides = ([0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3])
    low, high = np.asarray(low, float), np.asarray(high, float)
    return _joined([quad(low + corners[side] * (high - low), material, tile=tile) for side in sides])


def lathe(radii: np.ndarray, heights: np.ndarray, material: Material, *, slices: int = 24) -> Part:
    """A body of revolution around the y axis, from a profile: vases, bowls, lamp shades."""
    angle = np.linspace(0, 2 * np.pi, slices + 1)
    ring = np.stack([np.cos(angle), np.zeros_like(angle), np.sin(angle)], -1)
    vertices = np.concatenate([r * ring + [0, h, 0] for r, h in zip(radii, heights, strict=True)])
    uv = np.concatenate([np.stack([angle / (2 * np.pi), np.full_like(angle, h)], -1) for h in heights])
    i, j = np.meshgrid(np.arange(len(radii) - 1), np.arange(slices), indexing="ij")
    a = (i * (slices + 1) + j).ravel()
    b, c, d = a + 1, a + slices + 1, a + slices + 2
    return Part(vertices, np.concatenate([np.stack([a, c, b], -1), np.stack([b, c, d], -1)]), uv, material)


def turned(part: Part, degrees: float, to: np.ndarray | tuple[float, float, float] = (0, 0, 0)) -> Part:
    """Turn a part about the y axis, and move it."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    return replace(part, vertices=part.vertices @ turn.T + np.asarray(to, float))


def _joined(parts: list[Part]) -> Part:
    starts = np.cumsum([0, *(len(part.vertices) for part in parts[:-1])])
    faces = np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=True)])
    vertices, uv = (np.concatenate([getattr(part, name) for part in parts]) for name in ("vertices", "uv"))
    return Part(vertices, faces, uv, parts[0].material, parts[0].solid)
