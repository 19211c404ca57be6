"""What a fit and a training run tell while they go on: `Callback`, and how several are told as one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float
from torch import Tensor

__all__ = ["Callback", "Report", "Run", "Values", "as_callback", "begun", "flat"]

Values = dict[str, Any]
"""`step`, and by name the numbers of that step: floats, integers, None where one is unknown, or a dict of these."""


@dataclass(frozen=True)
class Run:
    """A fit or a training run that begins.

    Args:
        name: Name of the scene or of the prior.
        steps: Number of its steps.
        first: Steps that a resumed run took before.
        settings: Its settings: numbers and texts by name.
        snapshot: Returns what was learned so far, which further steps do not change: of a fit the `Fit`, of training
            the averaged prior. None where there is nothing to show.
    """

    name: str
    steps: int
    first: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    snapshot: Callable[[], Any] | None = None


class Callback:
    """Is told of a fit or of a training run; a subclass overrides what it wants to hear.

    It only listens: what it is given is not to be changed, and a run with it is the same to the bit as one without.
    What it raises ends the run. In a run of several processes the first one's callbacks are told.

    Example:
        >>> class Best(Callback):
        ...     psnr = 0.0
        ...
        ...     def values(self, values):
        ...         self.psnr = max(self.psnr, values["psnr"])
        >>> best = Best()
        >>> best.values({"step": 3, "psnr": 21.5})
        >>> best.psnr
        21.5
    """

    pictures: bool = False
    """Whether it wants pictures, which take time to draw."""

    def begin(self, run: Run) -> None:
        """A run begins, or goes on."""

    def step(self, step: int) -> None:
        """A step was taken; its number is as in `values`."""

    def values(self, values: Values) -> None:
        """Every so often: `step`, and what was measured at it."""

    def picture(self, name: str, picture: Float[Tensor, "h w 3"], step: int) -> None:
        """A picture with values in [0, 1], where `pictures` is true."""

    def end(self) -> None:
        """The run has ended, for whatever reason."""


Report = Callback | Callable[[Values], object] | Sequence[Callback | Callable[[Values], object]] | None
"""What `report=` takes: a callback, a function that is given the values, several of these, or None."""


class _Function(Callback):
    def __init__(self, function: Callable[[Values], object]) -> None:
        self.function = function

    def values(self, values: Values) -> None:
        self.function(values)


class _All(Callback):
    def __init__(self, members: Sequence[Callback]) -> None:
        self.members = members
        self.pictures = any(member.pictures for member in members)

    def begin(self, run: Run) -> None:
        for member in self.members:
            member.begin(run)

    def step(self, step: int) -> None:
        for member in self.members:
            member.step(step)

    def values(self, values: Values) -> None:
        for member in self.members:
            member.values(values)

    def picture(self, name: str, picture: Float[Tensor, "h w 3"], step: int) -> None:
        for member in self.members:
            if member.pictures:
                member.picture(name, picture, step)

    def end(self) -> None:
        for member in self.members:
            member.end()


def as_callback(report: Any) -> Callback:
    """Return one callback for what `report=` was given: a `Report`.

    Raises:
        ValueError: If it is none of these.
    """
    if report is None:
        return Callback()
    if isinstance(report, Callback):
        return report
    if isinstance(report, Sequence) and not isinstance(report, str):
        return _All([as_callback(each) for each in report])
    if isinstance(report, type) or not callable(report):
        raise ValueError(
            f"report is a Callback, a function of a step's values, or a list of these, but is {report!r:.80}."
        )
    return _Function(report)


@contextmanager
def begun(callback: Callback, run: Run) -> Iterator[None]:
    """Tell of the begin of a run, and at the end, also of one that fails, that it has ended."""
    try:
        callback.begin(run)
        yield
    finally:
        callback.end()


def flat(values: Values) -> dict[str, float]:
    """Return the numbers of some values by name, those of a dict as `name/key`; without the step and the unknown."""
    found = {}
    for name, value in values.items():
        parts = {f"{name}/{key}": part for key, part in value.items()} if isinstance(value, dict) else {name: value}
        found |= {key: float(part) for key, part in parts.items() if isinstance(part, int | float) and key != "step"}
    return found
