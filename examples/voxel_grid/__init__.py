"""A voxel grid fitted to three photos: alone, with total variation, and with a diffusion prior over its blocks."""
