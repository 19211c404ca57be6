"""Arguments of priors that are made of others: their checks, with the call that is meant."""

import math
import os
from collections.abc import Sequence
from typing import Any

from scorereg.priors.base import Prior

__all__ = ["check_names", "check_number", "check_prior", "check_priors", "check_whole"]


def check_prior(value: Any, who: str) -> None:
    """Check that a part is a prior.

    Args:
        value: The part.
        who: Name of the composition, for the error.

    Raises:
        ValueError: If it is none, such as a name or a network; a list is told from one prior.
    """
    if isinstance(value, Prior) and not isinstance(value, type):
        return
    name, inside = type(value).__name__, getattr(value, "prior", None)
    if isinstance(value, str | os.PathLike):
        what = f"the name {os.fspath(value)!r}. Load it: {who}(load_prior({os.fspath(value)!r}), ...)"
    elif isinstance(value, type):
        what = f"the class {value.__name__}, and not an object of it"
    elif isinstance(inside, Prior):  # a denoiser by as_deepinv, a ScoreLoss
        what = f"a {name}, which holds one. Give that: {who}(object.prior, ...)"
    elif isinstance(value, list | tuple):
        what = f"a {type(value).__name__}. Give one prior; ProductPrior(priors) multiplies several"
    else:
        what = f"a {name}. Make a prior of a network: load_prior(...), from_diffusers(...) or wrap(...)"
    raise ValueError(f"{who} needs a prior, an object with `channels` and `denoise(x, sigma)`, but got {what}.")


def check_priors(values: Any, weights: Any) -> None:
    """Check the parts of a product, and that its weights are as many finite numbers.

    Raises:
        ValueError: If not.
    """
    if not isinstance(values, list | tuple):
        what = "one prior" if isinstance(values, Prior) else f"a {type(values).__name__}"
        raise ValueError(f"ProductPrior needs a list of priors, but got {what}. Write ProductPrior([prior, ...]).")
    for value in values:
        check_prior(value, "ProductPrior")
    if not _is_list(weights):
        raise ValueError(f"the weights of a product are a list, one number for each prior, but got {weights!r}.")
    if not values:
        raise ValueError("ProductPrior needs at least one prior, but got an empty list.")
    if len(values) != len(weights):
        raise ValueError(f"a product needs as many weights as priors, but got {len(weights)} and {len(values)}.")
    for weight in weights:
        check_number(weight, "a weight of a product")


def check_names(names: Any, who: str) -> None:
    """Check that channels are a list of names.

    Raises:
        ValueError: If they are one text, of another type, or none.
    """
    if not _is_list(names) or not len(names) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{who} needs the names of channels in a list, like ('r', 'g', 'b'), but got {names!r}.")


def check_number(value: Any, what: str, *, above: float = -math.inf) -> None:
    """Check that a value is one finite number above a bound.

    Raises:
        ValueError: If not.
    """
    good = isinstance(value, int | float) and not isinstance(value, bool) and above < value < math.inf
    if not good:
        bound = f" above {above:g}" if above > -math.inf else ""
        shown = f"{value:g}" if isinstance(value, float) else f"{value!r}"
        raise ValueError(f"{what} must be a finite number{bound}, but is {shown}.")


def check_whole(value: Any, what: str, least: int) -> None:
    """Check that a value is a whole number of at least a bound.

    Raises:
        ValueError: If not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{what} must be a whole number, {least} or more, but is {value!r}.")


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)
