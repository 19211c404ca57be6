"""Files of photos, depth maps, masks, cameras and poses, read by one reader of each kind for scenes and for training."""

from scorereg.files.view import Lens, Listing, View

__all__ = ["Lens", "Listing", "View"]
