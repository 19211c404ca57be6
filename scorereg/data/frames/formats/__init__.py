"""Readers of data set layouts: each finds the frames of a folder."""

from scorereg.data.frames.formats.hypersim import find_hypersim
from scorereg.data.frames.formats.listed import find_rooms, find_transforms
from scorereg.data.frames.formats.pairs import find_kinect, find_pairs, find_photos, find_scannet
from scorereg.data.frames.formats.tum import find_tum

__all__ = [
    "find_hypersim", "find_kinect", "find_pairs", "find_photos", "find_rooms", "find_scannet", "find_transforms",
    "find_tum",
]  # fmt: skip
