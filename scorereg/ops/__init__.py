"""Tensor operations with fast paths: each has its definition in plain torch, a CPU path, and most a Triton kernel."""

from scorereg.ops._composite.eager import render_weights
from scorereg.ops._composite.op import Composite, composite, composite_reference
from scorereg.ops._distortion import distortion, distortion_reference
from scorereg.ops._frustum_count.op import (
    frustum_count,
    frustum_count_reference,
    frustum_penalty,
    frustum_penalty_reference,
)
from scorereg.ops._gather_patches.op import gather_patches, gather_patches_reference
from scorereg.ops._hash_encode.op import hash_encode, hash_encode_reference
from scorereg.ops._hash_encode.shape import GridShape
from scorereg.ops._hash_encode.tinycudann import from_tinycudann, tinycudann_config, to_tinycudann
from scorereg.ops._scatter_patches.op import scatter_patches, scatter_patches_reference

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
    "render_weights",
    "scatter_patches",
    "scatter_patches_reference",
    "tinycudann_config",
    "to_tinycudann",
]
