"""The multiresolution hash grid: the operation, fused functions for CPUs, Triton kernels, tiny-cuda-nn's layout."""
