"""Autograd functions that inject a precomputed gradient: as the gradient of a value, or added to the incoming one."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["AddGradient", "CombineGradients", "PrecomputedGradient"]

# (precomputed gradients, incoming gradients, None where there is none) -> gradients to add to the incoming ones
CombineGradients = Callable[[tuple[Tensor, ...], tuple[Tensor | None, ...]], tuple[Tensor, ...]]


class PrecomputedGradient(torch.autograd.Function):
    """A scalar whose value and gradient to `patch` are both given."""

    @staticmethod
    def forward(ctx: Any, patch: Tensor, computed: tuple[Tensor, Tensor]) -> Tensor:
        value, gradient = computed
        ctx.save_for_backward(gradient)
        ctx.dtype = patch.dtype
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, incoming: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return (incoming * gradient).to(ctx.dtype), None


class AddGradient(torch.autograd.Function):
    """Identity on tensors; as soon as one of them has an incoming gradient, each gets another gradient added.

    The sum has the wider of the two dtypes, and is returned in the tensor's own. The tensors are copied, because a view
    returned by an autograd function cannot be changed in place.
    """

    @staticmethod
    def forward(ctx: Any, combine: CombineGradients, gradients: tuple[Tensor, ...], *tensors: Tensor) -> Any:
        ctx.combine = combine
        ctx.dtypes = [tensor.dtype for tensor in tensors]
        ctx.save_for_backward(*gradients)
        ctx.set_materialize_grads(False)
        return tuple(tensor.clone() for tensor in tensors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *incoming: Tensor | None) -> tuple[Any, ...]:
        added = ctx.combine(ctx.saved_tensors, incoming)
        sums = [extra if other is None else other + extra for other, extra in zip(incoming, added, strict=True)]
        return None, None, *(total.to(dtype) for total, dtype in zip(sums, ctx.dtypes, strict=True))
