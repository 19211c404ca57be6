"""Folders of frames, photos with depth and further maps: finding, reading, reducing and cutting into patches."""

from scorereg.data.frames.discover import find_frames
from scorereg.data.frames.frame import Frame, Planes
from scorereg.data.frames.images import ImageSource, open_images
from scorereg.data.frames.load import load_pyramid
from scorereg.data.frames.normals import normals_of
from scorereg.data.frames.pyramid import Crops, Pyramid
from scorereg.data.frames.read import read_frame
from scorereg.data.frames.source import FrameSource, open_frames
from scorereg.data.frames.split import split_scenes

__all__ = [
    "Crops", "Frame", "FrameSource", "ImageSource", "Planes", "Pyramid", "find_frames", "load_pyramid", "normals_of",
    "open_frames", "open_images", "read_frame", "split_scenes",
]  # fmt: skip
