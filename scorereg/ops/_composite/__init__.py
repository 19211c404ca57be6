"""Volume rendering sums along rays: the operation, its definition in plain torch, and its Triton kernels."""
