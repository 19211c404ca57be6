"""A diffusion prior over the weights along a ray, beside and in place of the distortion loss."""
