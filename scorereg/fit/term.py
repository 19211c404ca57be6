"""The terms of a fit's loss: the base class `Term`, and what a term is given at each step."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from scorereg.cameras import Cameras, Rays
from scorereg.fit.fingerprint import fingerprint
from scorereg.fit.recipe import Recipe
from scorereg.rendering.volume import Render
from scorereg.scenes import Scene

__all__ = ["Batch", "FitContext", "FunctionTerm", "Term", "WeightedTerm", "as_terms"]


@dataclass(frozen=True, eq=False)
class FitContext:
    """What a fit is of, for terms that prepare something before its first step.

    Args:
        scene: On the fit's device.
        cameras: The training cameras.
        photos: Their photos, in [0, 1]; 0 where masked.
        field: The field that is fitted.
        recipe: The numbers of the loop.
        generator: The fit's source of random numbers; what a term draws from it is repeated by the same seed.
        masks: Pixels of the photos that count; None where all do. Photo rays are drawn from these alone.
        depth: Measured planar depth of the photos in metres, 0 where unknown or masked; None where there is none.
    """

    scene: Scene
    cameras: Cameras
    photos: Float[Tensor, "n h w 3"]
    field: Any
    recipe: Recipe
    generator: torch.Generator
    masks: Bool[Tensor, "n h w"] | None = None
    depth: Float[Tensor, "n h w"] | None = None


@dataclass(frozen=True, eq=False)
class Batch:
    """The rays of one step, rendered.

    Args:
        step: Number of the step, from 0.
        progress: Share of the steps that is done, in [0, 1).
        render: All rays: first those of photos, then those that terms asked for.
        camera: Training camera of each photo ray.
        pixel: Its place in the photo, (x, y) in pixels.
        color: Its color in the photo, in [0, 1].
        own: Which of the rays are the term's own, those of its `rays`; None without any.
        triplets: How many triplets of pixels in a row the last of the photo rays are, three rays each; see
            `Term.triplets`.
    """

    step: int
    progress: float
    render: Render
    camera: Int[Tensor, " r"]
    pixel: Float[Tensor, "r 2"]
    color: Float[Tensor, "r 3"]
    own: slice | None = None
    triplets: int = 0

    @property
    def photo(self) -> Render:
        """The photo rays."""
        return self.render[: len(self.color)]

    @property
    def requested(self) -> Render:
        """The rays that the term asked for.

        Raises:
            ValueError: If it asked for none in this step.
        """
        if self.own is None:
            raise ValueError("this term asked for no rays in this step; return some from its `rays`.")
        return self.render[self.own]


class Term(ABC):
    """One term of a fit's loss; `name` is what histories and errors call it.

    A subclass computes a scalar from a step's render, and may ask for rays of its own, be at work in a part of the fit
    only, and keep a state. Public attributes are its settings, by which a saved fit is compared with the one that
    resumes it; what changes in a fit belongs into private ones.

    Example:
        >>> from scorereg.fit import Term
        >>> class Near(Term):
        ...     name = "near"
        ...     def __call__(self, batch):
        ...         return (1 / batch.render.depth).mean()
        ...     def factor(self, progress):
        ...         return 1e-3
        >>> Near()
        Near()
    """

    name: str

    @abstractmethod
    def __call__(self, batch: Batch) -> Tensor:
        """Return the term's value, a scalar without its factor."""

    def bind(self, context: FitContext) -> None:  # noqa: B027
        """Prepare for a fit; called once, before the first step."""

    def active(self, progress: float) -> bool:
        """Whether the term is at work when a share of the steps is done. It is not called in other steps."""
        return True

    def factor(self, progress: float) -> float:
        """Return what the value is multiplied by in the loss; 0 only reports it."""
        return 1.0

    def rays(self, step: int) -> Rays | None:
        """Return rays that are to be rendered for this step, shape (n,), beside those of the photos."""
        return None

    def triplets(self) -> tuple[float, float]:
        """Return the share of the photo rays that are to be triplets of pixels in a row, and the largest distance.

        The distance between the pixels of a triplet is up to that share of the photos' width. Of several terms the
        largest of both are taken.
        """
        return 0.0, 0.0

    def report(self) -> dict[str, Tensor]:
        """Return further scalars for the history, of the last call."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return what the term changes in a fit; a resumed fit loads it."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027
        """Go back to what `state_dict` returned."""

    def settings(self) -> dict[str, Any]:
        """Return the public attributes."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def fingerprint(self) -> dict[str, str]:
        """Return the settings as texts that are equal only for equal settings."""
        return {"type": type(self).__qualname__, **{name: fingerprint(v) for name, v in self.settings().items()}}

    def __repr__(self) -> str:
        """The class and those settings that are not the defaults, in one line."""
        try:
            parameters = inspect.signature(type(self)).parameters
        except (TypeError, ValueError):
            parameters = {}
        shown = []
        for name, value in self.settings().items():
            if name not in parameters or fingerprint(parameters[name].default) != fingerprint(value):
                shown.append(f"{name}={fingerprint(value)}")
        return f"{type(self).__name__}({', '.join(shown)})"


class WeightedTerm(Term):
    """A term with a constant factor.

    Args:
        weight: Factor in the loss, >= 0.
    """

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def factor(self, progress: float) -> float:
        return self.weight


class FunctionTerm(Term):
    """A plain function of the render of all of a step's rays, and of the step, as a term.

    Args:
        function: `function(render, step)` returns a scalar, weighted. Random numbers in it are its own business.
        name: What histories call it; the function's name, if not given.
    """

    def __init__(self, function: Callable[[Render, int], Tensor], name: str = "") -> None:
        self.function = function
        self.name = name or getattr(function, "__name__", type(function).__name__)

    def __call__(self, batch: Batch) -> Tensor:
        return self.function(batch.render, batch.step)


def as_terms(given: Sequence[Term | Callable[[Render, int], Tensor]]) -> list[Term]:
    """Return terms, plain functions wrapped, names made unique.

    Raises:
        ValueError: If an entry is neither a term nor a function.
    """
    terms: list[Term] = []
    for entry in given:
        if not isinstance(entry, Term) and not callable(entry):
            raise ValueError(
                f"a term of a fit is a scorereg.fit.Term or a function of (render, step), but one of those given is a "
                f"{type(entry).__name__}: {entry!r}."
            )
        terms.append(entry if isinstance(entry, Term) else FunctionTerm(entry))
    names = [term.name for term in terms]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two terms of a fit are called {', '.join(twice)}. Give one of each another `name`.")
    return terms
