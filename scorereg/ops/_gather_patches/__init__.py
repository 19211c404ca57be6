"""Patches gathered out of images: the operation, its definition in plain torch, and its Triton kernels."""
