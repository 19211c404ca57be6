"""Voxel blocks for training, cut out of meshes, grids and depth maps."""
