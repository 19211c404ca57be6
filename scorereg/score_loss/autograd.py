"""How a gradient that was worked out elsewhere enters autograd: as that of a value, or added to what comes back."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["Added", "Finish", "WorkedOut"]

# (gradients that were worked out, gradients that arrive, None where none does) -> what is added to the latter
Finish = Callable[[tuple[Tensor, ...], tuple[Tensor | None, ...]], tuple[Tensor, ...]]


class WorkedOut(torch.autograd.Function):
    """A value with a gradient that was worked out elsewhere."""

    @staticmethod
    def forward(ctx: Any, patch: Tensor, worked_out: tuple[Tensor, Tensor]) -> Tensor:
        value, gradient = worked_out
        ctx.save_for_backward(gradient)
        ctx.dtype = patch.dtype
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, arriving: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return (arriving * gradient).to(ctx.dtype), None


class Added(torch.autograd.Function):
    """Tensors as they are; to each one's gradient another is added, as soon as any of them is differentiated through.

    The sum is taken in the wider of the two types, and comes back in the tensor's own. The tensors are copied, as views
    that come out of a function could not be changed in place by whoever uses them next.
    """

    @staticmethod
    def forward(ctx: Any, finish: Finish, gradients: tuple[Tensor, ...], *tensors: Tensor) -> Any:
        ctx.finish = finish
        ctx.dtypes = [tensor.dtype for tensor in tensors]
        ctx.save_for_backward(*gradients)
        ctx.set_materialize_grads(False)
        return tuple(tensor.clone() for tensor in tensors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *arriving: Tensor | None) -> tuple[Any, ...]:
        extras = ctx.finish(ctx.saved_tensors, arriving)
        sums = [extra if other is None else other + extra for other, extra in zip(arriving, extras, strict=True)]
        return None, None, *(total.to(dtype) for total, dtype in zip(sums, ctx.dtypes, strict=True))
