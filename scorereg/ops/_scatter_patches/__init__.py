"""Blocks averaged into images: the operation with its definition in plain torch, and its Triton kernels."""
