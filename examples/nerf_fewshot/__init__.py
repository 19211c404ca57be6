"""A radiance field from three photos: with no regulariser, with hand-made terms, and with a diffusion prior beside them."""
