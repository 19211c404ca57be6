"""Patches gathered from images: the operation, its definition in plain torch, and its Triton kernels."""
