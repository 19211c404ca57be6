"""Poses of photos that have none, by structure from motion; the result is a scene that `load_scene` reads."""

from scorereg.poses.scene import Found as Found
from scorereg.poses.scene import find_poses as find_poses

__all__ = ["Found", "find_poses"]
