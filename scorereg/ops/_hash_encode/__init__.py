"""Multiresolution hash encoding: the operation, fused functions for CPUs, Triton kernels, tiny-cuda-nn's layout."""
