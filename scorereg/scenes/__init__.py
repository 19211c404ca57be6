"""Scenes: photos with known cameras, loaded from a folder."""

from scorereg.scenes.kind import SceneKind as SceneKind
from scorereg.scenes.load import load_scene as load_scene
from scorereg.scenes.scene import Scene as Scene
from scorereg.scenes.trajectory import camera_path as camera_path

__all__ = ["Scene", "SceneKind", "camera_path", "load_scene"]
