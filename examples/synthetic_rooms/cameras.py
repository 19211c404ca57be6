"""Where photos are taken from: standing, sitting and lying heights, level and tilted, wide and long lenses.

A pose is a 4 x 4 matrix, world from camera with OpenGL axes (x right, y up, z back), as `transforms.json` has it.
"""

from dataclasses import dataclass

import numpy as np

from examples.synthetic_rooms.layout import Plan, clear
from examples.synthetic_rooms.shell import Shell

__all__ = ["Shot", "draw_shot"]

Rng = np.random.Generator
WALL = 0.3  # metres that a camera stays away from walls
_BODY = 0.22  # and from furniture
_HEIGHTS = ((1.3, 1.8), (0.7, 1.3), (0.25, 0.7), (1.8, 2.4))
_CHANCES = (0.5, 0.25, 0.1, 0.15)


@dataclass(frozen=True, eq=False)
class Shot:
    """One photo to be taken.

    Args:
        pose: World from camera, OpenGL axes.
        field_of_view: Horizontal, in degrees.
    """

    pose: np.ndarray
    field_of_view: float

    def focal(self, width: int) -> float:
        """Focal length in pixels of a photo of that width."""
        return float(width / 2 / np.tan(np.deg2rad(self.field_of_view) / 2))


def draw_shot(rng: Rng, shell: Shell, plan: Plan) -> Shot:
    """Stand where nothing is, and look at furniture, along the longest way, or anywhere."""
    position = _stand(rng, shell, plan)
    if plan.placed and rng.random() < 0.6:
        placed = plan.placed[int(rng.integers(len(plan.placed)))]
        target = np.array([placed.x, placed.base + placed.model.size[1] * rng.uniform(0.2, 1), placed.z])
    else:
        w, d = shell.size
        target = np.array([rng.uniform(-w / 2, w / 2), rng.uniform(0.1, 1.9), rng.uniform(-d / 2, d / 2)])
    away = target - position
    yaw = np.arctan2(away[0], away[2]) + rng.normal(0, 0.15)
    pitch = np.clip(np.arctan2(away[1], np.hypot(away[0], away[2])), -1.0, 0.5) + rng.normal(0, 0.08)
    if rng.random() < 0.25:
        pitch = rng.normal(0, 0.03)  # level, as architects do it
    return Shot(_pose(position, yaw, pitch, np.deg2rad(rng.normal(0, 2.5))), rng.uniform(42, 92))


def _stand(rng: Rng, shell: Shell, plan: Plan) -> np.ndarray:
    w, d = shell.size
    place = np.zeros(3)
    for _ in range(300):
        x, z = rng.uniform(-w / 2 + WALL, w / 2 - WALL), rng.uniform(-d / 2 + WALL, d / 2 - WALL)
        around = (x - _BODY, x + _BODY, z - _BODY, z + _BODY)
        low, high = _HEIGHTS[int(rng.choice(len(_HEIGHTS), p=_CHANCES))]
        y = float(rng.uniform(low, high))
        place = np.array([x, min(y, shell.lowest(*around) - 0.2), z])
        if shell.holds(*around) and clear(plan, around) and place[1] > 0.2:
            break
    return place


def _pose(position: np.ndarray, yaw: float, pitch: float, roll: float) -> np.ndarray:
    forward = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    right = np.cross(forward, [0, 1, 0])
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    right, up = np.cos(roll) * right + np.sin(roll) * up, np.cos(roll) * up - np.sin(roll) * right
    pose = np.eye(4)
    pose[:3] = np.stack([right, up, -forward, position], -1)
    return pose
