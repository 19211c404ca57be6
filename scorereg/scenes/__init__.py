"""Photos with known cameras: what a folder on disk becomes."""

from scorereg.scenes.load import load_scene as load_scene
from scorereg.scenes.path import camera_path as camera_path
from scorereg.scenes.scene import Scene as Scene

__all__ = ["Scene", "camera_path", "load_scene"]
