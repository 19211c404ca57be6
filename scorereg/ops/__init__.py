"""Operations whose speed matters: each a contract with its reference in plain torch, and a faster path beside it."""

from scorereg.ops.hash_encode import GridShape, hash_encode, hash_encode_reference

__all__ = ["GridShape", "hash_encode", "hash_encode_reference"]
