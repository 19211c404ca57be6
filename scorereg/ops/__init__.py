"""Operations whose speed matters: each a contract with its reference in plain torch, and a faster path beside it."""

from scorereg.ops.composite import Composite, composite, composite_reference
from scorereg.ops.distortion import distortion, distortion_reference
from scorereg.ops.hash_encode import GridShape, hash_encode, hash_encode_reference

__all__ = [
    "Composite",
    "GridShape",
    "composite",
    "composite_reference",
    "distortion",
    "distortion_reference",
    "hash_encode",
    "hash_encode_reference",
]
