"""Schedules: functions from the optimisation step to a value, for `ScoreLoss(sigma=..., weight=...)` and other weights.

    step     the optimisation step, counted from 0
    start    up to and including this step, a schedule has its first value
    end      from this step on, it has its last value
    sigma    noise level in prior-space units

A schedule is any callable with the one parameter `step`. The name of those made here is the call that made them.
"""

import math
from collections.abc import Callable
from typing import Any

__all__ = ["Schedule", "constant", "cosine", "diffusionerf", "linear", "log_linear", "ramp"]

Schedule = Callable[[int], float]


def constant(value: float | int) -> Schedule:
    """The same value at every step.

    Example:
        >>> from scorereg.schedules import constant
        >>> constant(0.1)(7)
        0.1
    """
    _check_finite(value=value)
    return _Named(f"constant({value:g})", _same, float(value))


def linear(first: float | int, last: float | int, start: int, end: int) -> Schedule:
    """Linear from `first` at step `start` to `last` at step `end`, constant before and after.

    Raises:
        ValueError: If `end` does not come after `start`, or a value is not finite.

    Example:
        >>> from scorereg.schedules import linear
        >>> linear(0.0, 1.0, start=10, end=20)(15)
        0.5
    """
    return _between("linear", first, last, start, end, _mix)


def log_linear(first: float | int, last: float | int, start: int, end: int) -> Schedule:
    """Geometric from `first` to `last`: linear in log(value), by a constant factor a step. Usual for sigma.

    Raises:
        ValueError: If `end` does not come after `start`, or a value is not positive and finite.

    Example:
        >>> from scorereg.schedules import log_linear
        >>> round(log_linear(1.0, 0.01, start=0, end=100)(50), 6)
        0.1
    """
    if min(first, last) <= 0:
        raise ValueError(f"log_linear needs values > 0, got {first:g} and {last:g}. For a value of 0 use `linear`.")
    return _between("log_linear", first, last, start, end, _geometric)


def cosine(first: float | int, last: float | int, start: int, end: int) -> Schedule:
    """Half a cosine wave from `first` to `last`, with slope 0 at both ends; raises like `linear`.

    Example:
        >>> from scorereg.schedules import cosine
        >>> cosine(1.0, 0.0, start=0, end=100)(50)
        0.5
    """
    return _between("cosine", first, last, start, end, _half_wave)


def ramp(value: float | int, start: int, end: int) -> Schedule:
    """Warm-up of a weight: exactly 0 up to step `start`, then linear up to `value` at step `end`.

    Raises:
        ValueError: If `end` does not come after `start`, or the value is not finite.

    Example:
        >>> from scorereg.schedules import ramp
        >>> [ramp(0.2, start=10, end=20)(step) for step in (0, 10, 15, 99)]
        [0.0, 0.0, 0.1, 0.2]
    """
    _check_order(start, end)
    _check_finite(value=value)
    return _Named(f"ramp({value:g}, {start}, {end})", _mixed, 0.0, value, start, end, _mix)


def diffusionerf(start: int = 500, end: int = 2500) -> Schedule:
    r"""The noise level of DiffusioNeRF, as sigma.

    Its diffusion time tau falls linearly from 0.1 to 0 between the two steps. The released code maps tau to one of 250
    sampling times, $t = 999 - 4\,\min(\mathrm{round}(250 (1 - \tau)), 249)$, so t falls from 99 to 3 in steps of 4, in
    a cosine table of 1000 entries (Nichol and Dhariwal 2021, eq. 17, s = 0.008). Here $\sigma_t = \sqrt{(1 -
    \bar\alpha_t) / \bar\alpha_t}$: from 0.1694 down to 0.0139.

    Source: Wynn and Turmukhambetov 2023 (arXiv 2302.12231).

    Raises:
        ValueError: If `end` does not come after `start`.

    Example:
        >>> from scorereg.schedules import diffusionerf
        >>> sigma = diffusionerf()
        >>> [round(sigma(step), 4) for step in (0, 500, 1500, 2500)]
        [0.1694, 0.1694, 0.0866, 0.0139]
    """
    return _Named(f"diffusionerf({start}, {end})", _level_of_diffusionerf, linear(0.1, 0.0, start, end))


def _level_of_diffusionerf(step: int, tau: Schedule) -> float:
    t = 999 - 4 * min(round(250 * (1 - tau(step))), 249)
    return math.sqrt(1 / _cosine_alpha_bar(t) - 1)


def _cosine_alpha_bar(t: int, times: int = 1000, s: float = 0.008) -> float:
    """Entry t of the table, the cumulative product up to and including 1 - beta_t, whose factors telescope."""

    def f(i: int) -> float:
        return math.cos((i / times + s) / (1 + s) * math.pi / 2) ** 2

    return f(t + 1) / f(0)


class _Named:
    """A function of the step and of fixed values, with a name: unlike a closure it can be pickled with a loss."""

    def __init__(self, name: str, function: Callable[..., float], *values: Any) -> None:
        self.__name__ = self.__qualname__ = name
        self.function, self.values = function, values

    def __call__(self, step: int) -> float:
        return self.function(step, *self.values)

    def __repr__(self) -> str:
        return self.__name__


def _between(
    shape: str, first: float | int, last: float | int, start: int, end: int, mix: Callable[[Any, Any, float], float]
) -> Schedule:
    """`mix(first, last, share)` with the share of the steps from `start` to `end` that are done, in [0, 1]."""
    _check_order(start, end)
    _check_finite(first=first, last=last)
    return _Named(f"{shape}({first:g}, {last:g}, {start}, {end})", _mixed, first, last, start, end, mix)


def _mixed(
    step: int, first: float | int, last: float | int, start: int, end: int, mix: Callable[[Any, Any, float], float]
) -> float:
    return mix(first, last, min(max((step - start) / (end - start), 0.0), 1.0))


def _same(step: int, value: float) -> float:
    return value


def _mix(first: float | int, last: float | int, share: float) -> float:
    """Linear interpolation, exact at both ends, where first + (last - first) * 1 would round."""
    return float(last) if share == 1 else first + (last - first) * share


def _geometric(first: float | int, last: float | int, share: float) -> float:
    return float(first) ** (1 - share) * float(last) ** share


def _half_wave(first: float | int, last: float | int, share: float) -> float:
    return _mix(first, last, 0.5 - math.cos(math.pi * share) / 2)


def _check_order(start: int, end: int) -> None:
    if not end > start:
        raise ValueError(
            f"A schedule must end after it starts, but got start={start} and end={end}. "
            "For a value that does not change use `constant`."
        )


def _check_finite(**values: float | int) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise ValueError(f"A schedule needs finite values, but `{name}` is {value}.")
