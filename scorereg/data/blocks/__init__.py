"""Voxel blocks for training, cut out of meshes, grids and depth maps."""

from scorereg.data.blocks.fusion import fuse_depth, read_views
from scorereg.data.blocks.make import BlockMix, cut_blocks, make_blocks
from scorereg.data.blocks.sources import find_sources, load_grid
from scorereg.data.blocks.voxels import Grid, grid_of_mesh, read_grid

__all__ = [
    "BlockMix", "Grid", "cut_blocks", "find_sources", "fuse_depth", "grid_of_mesh", "load_grid", "make_blocks",
    "read_grid", "read_views",
]  # fmt: skip
