"""Number of cameras that see a point: the operation with its definition in plain torch, and its Triton kernels."""
