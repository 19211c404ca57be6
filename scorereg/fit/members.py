"""The states of an ensemble's members, stepped together; to `fit_scene` and its saved states they are as one."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from scorereg._io.saved import Damaged
from scorereg.fit.loop import FitState
from scorereg.fit.recipe import Recipe
from scorereg.fit.term import Term
from scorereg.rendering.ensemble import Ensemble
from scorereg.rendering.volume import DensityFn
from scorereg.scenes import Scene

__all__ = ["Members"]


class Members:
    """Fits of one scene from as many seeds: seed, seed + 1 and so on. Each is the fit of its seed to the bit.

    Args:
        scene: As of `FitState`.
        fields: A field for each member; changed in place.
        proposal: Density that tells where to sample; of a module each member trains a copy of its own.
        terms: The loss; each member has copies that share the public settings, as a prior, and nothing else.
        recipe: Numbers of the loop.
        seed: Seed of the first.
    """

    def __init__(
        self,
        scene: Scene,
        fields: Sequence[nn.Module],
        proposal: DensityFn,
        terms: Sequence[Term],
        recipe: Recipe,
        seed: int,
    ) -> None:
        self.scene, self.recipe = scene, recipe
        self.states = [
            FitState(scene, field, copy.deepcopy(proposal) if isinstance(proposal, nn.Module) else proposal,
                     [_own(term) for term in terms], recipe, seed + k)
            for k, field in enumerate(fields)
        ]  # fmt: skip

    def step(self, step: int) -> dict[str, Tensor]:
        """Take one step of each; return the means of the values of their terms."""
        values = [state.step(step) for state in self.states]
        return {name: torch.stack([each[name] for each in values]).mean(0) for name in values[0]}

    def is_told(self, step: int) -> bool:
        """Whether a step is one of some fifty that the history tells."""
        return self.states[0].is_told(step)

    def averaged(self) -> tuple[nn.Module, DensityFn]:
        """The fields and the proposals with the averaged parameters; a proposal that is a function is as it was."""
        fields, proposals = zip(*(state.averaged() for state in self.states), strict=True)
        return Ensemble(fields), Ensemble(proposals) if isinstance(proposals[0], nn.Module) else proposals[0]

    def state_dict(self) -> dict[str, Any]:
        """All that a step changes: of each entry a list, with that of each member."""
        states = [state.state_dict() for state in self.states]
        return {name: [each[name] for each in states] for name in states[0]}

    def check_state(self, state: dict[str, Any], step: int) -> None:
        """Check that a state is one of this fit after so many steps.

        Raises:
            Damaged: If not.
        """
        for own, part in zip(self.states, self._parts(state), strict=True):
            own.check_state(part, step)

    def load_state_dict(self, state: dict[str, Any], step: int) -> None:
        """Go back to what `state_dict` returned after so many steps.

        Raises:
            Damaged: If a term cannot load its state.
        """
        for own, part in zip(self.states, self._parts(state), strict=True):
            own.load_state_dict(part, step)

    def _parts(self, state: dict[str, Any]) -> list[dict[str, Any]]:
        names, count = self.states[0].state_dict().keys(), len(self.states)
        for name in names:
            if not isinstance(state[name], list) or len(state[name]) != count:
                raise Damaged(f"{name} is not that of {count} members")
        return [{name: state[name][k] for name in names} for k in range(count)]


def _own(term: Term) -> Term:
    """A copy with a state of its own: the private attributes."""
    copied = copy.copy(term)
    vars(copied).update({name: copy.deepcopy(x) for name, x in vars(term).items() if name.startswith("_")})
    return copied
