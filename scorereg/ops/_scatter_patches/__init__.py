"""Patches added into images: the operation with its definition in plain torch, and its Triton kernels."""
