"""Autograd functions that inject a precomputed gradient: as the gradient of a value, or added to the incoming one.

A gradient that was computed and not differentiated has no derivative of its own. Where a second one is asked for, it
would be taken for a constant, without a word; so `link`, a number that depends on the patch, leads from the gradient to
an error.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "AddGradient",
    "AddInGraph",
    "CombineGradients",
    "GradientInGraph",
    "LeadsNowhere",
    "PrecomputedGradient",
    "link",
]

# (precomputed gradients, incoming gradients, None where there is none) -> gradients to add to the incoming ones
CombineGradients = Callable[[tuple[Tensor, ...], tuple[Tensor | None, ...]], tuple[Tensor, ...]]

_NOWHERE = (
    "ScoreLoss got a patch that does not require grad, so its gradient reaches nothing. Was it detached, rendered "
    "under no_grad, or made of numbers? Without need of a gradient call the loss under torch.no_grad()."
)
_TWICE = (
    "The gradient of ScoreLoss has no derivative: double backward, Hessians and create_graph through it cannot work. "
    "Take it as a constant, patch.backward(loss.gradient(patch)), or leave it out of what is differentiated twice."
)
_FORWARD = (
    "The gradient of ScoreLoss.hook and attach exists in backward passes only; forward-mode derivatives (jvp, jacfwd) "
    "would leave it out. Take the scalar, loss(patch), which knows its directional derivative."
)


def link(patch: Tensor) -> Tensor:
    """Zero that depends on the patch in the graph, and holds none of its memory."""
    return patch.flatten()[:0].sum()


class PrecomputedGradient(torch.autograd.Function):
    """A scalar whose value and gradient to `patch` are both given."""

    generate_vmap_rule = True  # of what is given: the loss itself cannot run under vmap

    @staticmethod
    def forward(patch: Tensor, value: Tensor, gradient: Tensor, tied: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        patch, _, gradient, tied = inputs
        ctx.save_for_backward(gradient, tied)
        ctx.save_for_forward(gradient)
        ctx.dtype = patch.dtype

    @staticmethod
    def backward(ctx: Any, incoming: Tensor) -> tuple[Tensor, None, None, None]:  # pyright: ignore
        gradient, tied = ctx.saved_tensors
        return (incoming * _once(gradient, tied)).to(ctx.dtype), None, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *others: Any) -> Tensor:  # pyright: ignore
        (gradient,) = ctx.saved_tensors
        return (gradient * tangent.to(gradient.dtype)).sum()


class GradientInGraph(torch.autograd.Function):
    """`PrecomputedGradient` for `torch.compile`, which takes no function with forward-mode or vmap rules."""

    @staticmethod
    def forward(ctx: Any, patch: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        ctx.dtype = patch.dtype
        return value.clone()

    @staticmethod
    def backward(ctx: Any, incoming: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore
        (gradient,) = ctx.saved_tensors
        return (incoming * gradient).to(ctx.dtype), None, None


class AddInGraph(torch.autograd.Function):
    """`AddGradient` of one patch for `torch.compile`, as it is without budget and scaler; it leaves no report."""

    @staticmethod
    def forward(ctx: Any, patch: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return patch.clone()

    @staticmethod
    def backward(ctx: Any, incoming: Tensor) -> tuple[Tensor, None]:  # pyright: ignore
        (gradient,) = ctx.saved_tensors
        return (incoming + gradient).to(incoming.dtype), None


class LeadsNowhere(torch.autograd.Function):
    """The value of a patch that does not require grad; a backward pass that comes to it warns, and goes no further."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, incoming: Tensor) -> None:  # pyright: ignore
        warnings.warn(_NOWHERE, stacklevel=2)


class AddGradient(torch.autograd.Function):
    """Identity on tensors; as soon as one of them has an incoming gradient, each gets another gradient added.

    Given are the gradients, a `link` of each tensor, and the tensors. The sum has the wider of the two dtypes, and is
    returned in the tensor's own. The tensors are copied, because a view returned by an autograd function cannot be
    changed in place.
    """

    @staticmethod
    def forward(combine: CombineGradients, *given: Tensor) -> Any:
        return tuple(tensor.clone() for tensor in given[2 * len(given) // 3 :])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.combine, *given = inputs
        ctx.count = len(given) // 3
        ctx.dtypes = [tensor.dtype for tensor in given[2 * ctx.count :]]
        ctx.save_for_backward(*given[: 2 * ctx.count])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *incoming: Tensor | None) -> tuple[Any, ...]:  # pyright: ignore
        saved = ctx.saved_tensors  # read once: a checkpoint computes it anew each time
        gradients, links = saved[: ctx.count], saved[ctx.count :]
        with torch.no_grad():
            added = ctx.combine(gradients, incoming)
        added = [_once(extra, tied) for extra, tied in zip(added, links, strict=True)]
        sums = [extra if other is None else other + extra for other, extra in zip(incoming, added, strict=True)]
        totals = [total.to(dtype) for total, dtype in zip(sums, ctx.dtypes, strict=True)]
        return None, *[None] * (2 * ctx.count), *totals

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:  # pyright: ignore
        raise ValueError(_FORWARD)


def _once(gradient: Tensor, tied: Tensor) -> Tensor:
    """The gradient; in a backward pass that builds a graph, as one whose own derivative is an error."""
    return _Once.apply(gradient, tied) if torch.is_grad_enabled() else gradient


class _Once(torch.autograd.Function):
    """Identity on a gradient that depends on a patch without a known derivative."""

    generate_vmap_rule = True

    @staticmethod
    def forward(gradient: Tensor, tied: Tensor) -> Tensor:
        return gradient.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, incoming: Tensor) -> Any:  # pyright: ignore
        raise ValueError(_TWICE)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:  # pyright: ignore
        raise ValueError(_TWICE)
