"""Training data: frames, images, arrays and shards on disk become patches in prior space."""

from scorereg.data.arrays.write import write_arrays
from scorereg.data.bad_frames import BadFrames, ReadOptions
from scorereg.data.blocks.make import BlockMix, make_blocks
from scorereg.data.channels import channel_names
from scorereg.data.frames.discover import find_frames
from scorereg.data.open import open_source
from scorereg.data.patch_spec import PatchSpec
from scorereg.data.rays.make import RayMix, make_rays
from scorereg.data.shards.remote import pinned
from scorereg.data.shards.write import prepare
from scorereg.data.source import Source, SourceInfo

__all__ = [
    "BadFrames", "BlockMix", "PatchSpec", "RayMix", "ReadOptions", "Source", "SourceInfo", "channel_names",
    "find_frames", "make_blocks", "make_rays", "open_source", "pinned", "prepare", "write_arrays",
]  # fmt: skip
