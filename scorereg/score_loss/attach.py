"""ScoreLoss on what a module returns, without a word in the module or in the loop that trains it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from scorereg.score_loss.autograd import Added, Finish
from scorereg.score_loss.gradient import ScoreGradient

__all__ = ["Attached", "Select"]

Select = Callable[[Any], Any]


class Attached:
    """A `ScoreLoss` on a module's output; made by `ScoreLoss.attach`.

    Attributes:
        calls: How often the prior was asked. A call of the module under `torch.no_grad` does not count.
        value: The loss's value at the last of them; NaN before the first.
        step: What functions of the step are called with: the number of calls so far, unless you set it. Set it where
            a step of the optimiser has several calls.
    """

    def __init__(
        self,
        loss: ScoreGradient,
        module: nn.Module,
        select: Select | None,
        scaler: torch.amp.GradScaler | None,
        generator: torch.Generator | None,
    ) -> None:
        if loss.sigma is None:
            raise ValueError(
                "ScoreLoss.attach is called by the module, so the loss needs a sigma of its own: "
                "ScoreLoss(prior, sigma=0.1)."
            )
        self.loss = loss
        self.select = select
        self.scaler = scaler
        self.generator = generator
        self.calls = 0
        self.value = float("nan")
        self.step: int | None = None
        # Where the module is compiled, the graph breaks here: the prior is not compiled into it.
        hook: Any = torch.compiler.disable(self._hook)
        self._handle = module.register_forward_hook(hook)

    def remove(self) -> None:
        """Take the loss off the module again."""
        self._handle.remove()

    def _hook(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        leaves, rebuild = _taken_apart(output)
        moving = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and leaf.requires_grad]
        if not torch.is_grad_enabled() or not moving:
            return output
        step = self.calls if self.step is None else self.step
        finish, gradients = self._pulled_back(leaves, moving, rebuild, step)
        added = Added.apply(finish, gradients, *(leaves[i] for i in moving))
        for i, tensor in zip(moving, added, strict=True):
            leaves[i] = tensor
        return rebuild(leaves)

    def _pulled_back(
        self, leaves: list[Any], moving: list[int], rebuild: Callable[..., Any], step: int
    ) -> tuple[Finish, tuple[Tensor, ...]]:
        """The loss's gradient to each tensor of the output, in single precision at least, and how it is finished."""
        loss = self.loss
        leaves = [leaf.detach() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        for i in moving:
            leaves[i] = (leaves[i].float() if leaves[i].element_size() < 4 else leaves[i]).requires_grad_()
        wanted = [leaves[i] for i in moving]
        with torch.autocast(wanted[0].device.type, enabled=False):
            patch, known = self._selected(rebuild(leaves))
            value, gradient, free = loss.evaluate(patch, None, step, known, self.generator)
            gradients = torch.autograd.grad(patch, wanted, gradient, allow_unused=True, materialize_grads=True)
        self.value = value.item()
        self.calls += 1
        if self.select is None:
            return loss.combine_at_patch(free, self.scaler), gradients
        return loss.combine_at_output(step, self.scaler), gradients

    def _selected(self, output: Any) -> tuple[Tensor, Tensor | None]:
        patch = output if self.select is None else self.select(output)
        patch, known = patch if isinstance(patch, tuple) and len(patch) == 2 else (patch, None)
        if not isinstance(patch, Tensor):
            raise ValueError(
                f"ScoreLoss.attach needs a patch, a tensor in prior space, but "
                f"{'the module returned' if self.select is None else '`select` returned'} a {type(patch).__name__}. "
                "Give `select`, a function from the module's output to the patch, or to (patch, known)."
            )
        if not patch.requires_grad:
            raise ValueError(
                "ScoreLoss.attach got a patch from `select` that does not depend on the module's output, or only "
                "through something that autograd does not follow, such as .detach() or .item()."
            )
        return patch, known


def _taken_apart(output: Any) -> tuple[list[Any], Callable[[list[Any]], Any]]:
    """The leaves of nested tuples, lists and dicts, or of a dataclass of them, and how they become one again."""
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        leaves, spec = pytree.tree_flatten({f.name: getattr(output, f.name) for f in dataclasses.fields(output)})
        return leaves, lambda leaves: dataclasses.replace(output, **pytree.tree_unflatten(leaves, spec))
    leaves, spec = pytree.tree_flatten(output)
    return leaves, lambda leaves: pytree.tree_unflatten(leaves, spec)
