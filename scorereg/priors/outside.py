r"""Denoising at noise levels outside the range that a prior was trained for, and gradients through its network.

Between the smallest and the largest level of the card nothing changes. Outside,

    sigma > high    D(x high / sigma, high)                     the noise is scaled down to the largest level
    sigma < low     x - (sigma / low)^2 (x - D(x, low))         the score of the smallest level
"""

import functools
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from scorereg.priors.base import Prior, conditioning_args

__all__ = ["denoise_clamped", "sigma_range", "with_graph", "without_graph"]

_SMALLEST = 1e-6  # stands in for 0, at which no denoiser is defined
_here = threading.local()
_T = TypeVar("_T", bound=Callable[..., Any])


def sigma_range(prior: Prior) -> tuple[float, float]:
    """Return the smallest and the largest noise level of a prior's card, or 1e-6 and infinity without a card."""
    card = getattr(prior, "card", None)
    if card is None:
        return _SMALLEST, math.inf
    return max(card.sigma_min, _SMALLEST), card.sigma_max


def denoise_clamped(
    prior: Prior, x: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"], known: Bool[Tensor, "..."] | None = None
) -> Float[Tensor, "b c *space"]:
    """Denoise at any noise level >= 0, by the formulas of this module outside the card's range.

    Args:
        prior: The denoiser.
        x: Noised patches in prior space.
        sigma: Noise level of each, >= 0, infinite ones excluded.
        known: Values without noise, for a conditional prior.

    Raises:
        ValueError: If a level is negative or not finite, or the prior refuses the patch.
    """
    levels = sigma.tolist()
    if not all(0 <= level < math.inf for level in levels):
        raise ValueError(f"a denoiser needs finite noise levels >= 0, but got {min(levels):g} to {max(levels):g}.")
    low, high = sigma_range(prior)
    rest = conditioning_args(prior, known)
    if all(low <= level <= high for level in levels):
        return prior.denoise(x, sigma, *rest)
    inside = sigma.clamp(low, high)
    shape = (-1, *[1] * (x.ndim - 1))
    shrink = torch.where(sigma > inside, inside / sigma.clamp(min=_SMALLEST), 1.0).reshape(shape).to(x)
    share = (sigma / inside).clamp(max=1).square().reshape(shape).to(x)
    denoised = prior.denoise(x * shrink, inside, *rest)
    return torch.where(share < 1, x - share * (x - denoised), denoised)


def without_graph(method: _T) -> _T:
    """Decorate a prior's method so that it builds no autograd graph, unless it is called within `with_graph`."""

    @functools.wraps(method)
    def inner(*args: Any, **kwargs: Any) -> Any:
        if getattr(_here, "graph", False):
            return method(*args, **kwargs)
        with torch.no_grad():
            return method(*args, **kwargs)

    return inner  # pyright: ignore[reportReturnType]


@contextmanager
def with_graph() -> Iterator[None]:
    """Let networks build an autograd graph when they denoise, for gradients through the denoiser."""
    before = getattr(_here, "graph", False)
    _here.graph = True
    try:
        yield
    finally:
        _here.graph = before
