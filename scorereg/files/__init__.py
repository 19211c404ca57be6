"""Photos, depth maps, masks, cameras and poses on disk: one reader of each kind, for scenes and for training."""

from scorereg.files.depth import read_depth
from scorereg.files.images import IMAGE_SUFFIXES, ImageHead, Photo, list_images, orient, read_head, read_image
from scorereg.files.masks import read_mask
from scorereg.files.view import Lens, Listing, View

__all__ = [
    "IMAGE_SUFFIXES", "ImageHead", "Lens", "Listing", "Photo", "View", "list_images", "orient", "read_depth",
    "read_head", "read_image", "read_mask",
]  # fmt: skip
