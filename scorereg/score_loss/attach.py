"""A forward hook that adds the gradient of a `ScoreLoss` to the output of a module."""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from scorereg.score_loss.arguments import check_scaler
from scorereg.score_loss.autograd import AddGradient, CombineGradients, link
from scorereg.score_loss.gradient import ScoreGradient

__all__ = ["Attached", "Select"]

Select = Callable[[Any], Any]

_PREPARED: list[Any] = []  # `Attached.__call__` behind torch.compiler.disable, once it is needed


_IN_GRAPH = "the hook of ScoreLoss.attach runs beside the graph; compile without fullgraph=True, or use loss.hook"


class Attached:
    """A `ScoreLoss` on a module's output; made by `ScoreLoss.attach`.

    Attributes:
        calls: Number of evaluations of the loss. Calls of the module under `torch.no_grad` do not count.
        value: Value of the loss at the last one; NaN before the first.
        step: Passed to functions of the step. `None`, the default, stands for `calls`; set it if an optimisation step
            calls the module several times.
    """

    def __init__(
        self,
        loss: ScoreGradient,
        module: nn.Module,
        select: Select | None,
        scaler: torch.amp.GradScaler | None,
        generator: torch.Generator | None,
    ) -> None:
        if not isinstance(module, nn.Module):
            raise ValueError(
                f"ScoreLoss.attach needs a torch.nn.Module, but got a {type(module).__name__}. For a tensor or the "
                "output of a function: patch = loss.hook(patch)."
            )
        if select is not None and not callable(select):
            raise ValueError(
                "ScoreLoss.attach needs `select` as a function from the module's output to the patch, but got "
                f"{select!r}. For an entry of a dict: select=lambda out: out[{select!r}]."
            )
        check_scaler(scaler)
        self.loss = loss
        self.select = select
        self.scaler = scaler
        self.generator = generator
        self.calls = 0
        self.value = float("nan")
        self.step: int | None = None
        _prepare()
        hook: Any = self  # an object and no closure, so that the module can be pickled
        self._handle = module.register_forward_hook(hook)

    def remove(self) -> None:
        """Remove the hook from the module."""
        self._handle.remove()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        _prepare()

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        """Return the module's output; a backward pass through it adds the gradient. The module calls it."""
        leaves, rebuild = _flatten(output)
        moving = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and leaf.requires_grad]
        if not torch.is_grad_enabled() or not moving:
            return output
        step = self.calls if self.step is None else self.step
        try:
            combine, gradients = self._backpropagate(leaves, moving, rebuild, step)
        except RuntimeError as error:
            if "functorch" not in str(error):
                raise
            raise ValueError(
                "ScoreLoss.attach works in backward passes, not inside torch.func. There, add the scalar to what you "
                "differentiate: loss(patch)."
            ) from error
        tensors = [leaves[i] for i in moving]
        added = AddGradient.apply(combine, *gradients, *map(link, tensors), *tensors)
        for i, tensor in zip(moving, added, strict=True):
            leaves[i] = tensor
        return rebuild(leaves)

    def _backpropagate(
        self, leaves: list[Any], moving: list[int], rebuild: Callable[..., Any], step: int
    ) -> tuple[CombineGradients, tuple[Tensor, ...]]:
        """The loss's gradients to the moving tensors, in single precision at least, and how the data's are combined."""
        loss = self.loss
        leaves = [leaf.detach() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        for i in moving:
            leaves[i] = (leaves[i].float() if leaves[i].element_size() < 4 else leaves[i]).requires_grad_()
        wanted = [leaves[i] for i in moving]
        with torch.autocast(wanted[0].device.type, enabled=False):
            patch, known = self._select(rebuild(leaves))
            value, gradient, free = loss.evaluate(patch, None, step, known, self.generator)
            gradients = torch.autograd.grad(patch, wanted, gradient, allow_unused=True, materialize_grads=True)
        self.value = value.item()
        self.calls += 1
        if self.select is None:
            return loss.combine_at_patch(free, self.scaler), gradients
        return loss.combine_at_output(step, self.scaler), gradients

    def _select(self, output: Any) -> tuple[Tensor, Tensor | None]:
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


def _prepare() -> None:
    """Put the hook behind `torch.compiler.disable`, so that the prior is not compiled into the module.

    Not on import, as `torch.compiler.disable` loads the compiler, which takes seconds.
    """
    if not _PREPARED:
        _PREPARED.append(torch.compiler.disable(Attached.__call__, reason=_IN_GRAPH))
        Attached.__call__ = _PREPARED[0]


def _flatten(output: Any) -> tuple[list[Any], Callable[[list[Any]], Any]]:
    """The leaves of nested tuples, lists and dicts, or of a dataclass of them, and the function that rebuilds it."""
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        leaves, spec = pytree.tree_flatten({f.name: getattr(output, f.name) for f in dataclasses.fields(output)})
        return leaves, lambda leaves: dataclasses.replace(output, **pytree.tree_unflatten(leaves, spec))
    leaves, spec = pytree.tree_flatten(output)
    return leaves, lambda leaves: pytree.tree_unflatten(leaves, spec)
