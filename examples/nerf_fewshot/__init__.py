"""A radiance field from three photos: unregularised, with hand-made terms, and with a diffusion prior beside them."""
