"""Operations whose speed matters: each a contract with its reference in plain torch, and a faster path beside it."""

from scorereg.ops.composite import Composite, composite, composite_reference
from scorereg.ops.distortion import distortion, distortion_reference
from scorereg.ops.frustum_count import (
    frustum_count,
    frustum_count_reference,
    frustum_penalty,
    frustum_penalty_reference,
)
from scorereg.ops.gather_patches import gather_patches, gather_patches_reference
from scorereg.ops.hash_encode import hash_encode, hash_encode_reference
from scorereg.ops.hash_encode_layout import from_tinycudann, tinycudann_config, to_tinycudann
from scorereg.ops.hash_encode_shape import GridShape
from scorereg.ops.scatter_patches import scatter_patches, scatter_patches_reference

__all__ = [
    "Composite",
    "GridShape",
    "composite",
    "composite_reference",
    "distortion",
    "distortion_reference",
    "from_tinycudann",
    "frustum_count",
    "frustum_count_reference",
    "frustum_penalty",
    "frustum_penalty_reference",
    "gather_patches",
    "gather_patches_reference",
    "hash_encode",
    "hash_encode_reference",
    "scatter_patches",
    "scatter_patches_reference",
    "tinycudann_config",
    "to_tinycudann",
]
