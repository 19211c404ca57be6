r"""The interface of a prior, and Tweedie's formula, which turns a denoiser into a score.

`x` is in prior space (every channel in [-1, 1] unless the card says otherwise); noise is variance exploding,
`x_sigma = x + sigma n` with one sigma a sample. Spatial dimensions are free: one, two or three.
"""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = [
    "Prior",
    "check_known",
    "check_patch",
    "conditioning_args",
    "one_line",
    "residual",
    "score",
    "without_autocast",
]


@runtime_checkable
class Prior(Protocol):
    """Anything that can denoise a patch; no base class to inherit, no registry to enter."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, in order."""
        ...

    def denoise(self, x: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b c *space"]:
        """Return `E[x_0 | x_0 + sigma n = x]` in prior space. Must not change `x`."""
        ...


def score(prior: Prior, x: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b c *space"]:
    r"""Return the score of the noised prior, by Tweedie's formula.

    $$ \nabla_x \log p_\sigma(x) = \frac{D(x, \sigma) - x}{\sigma^2} $$

    Source: Robbins 1956 and Efron 2011 ("Tweedie's formula"). Not differentiable where the prior's `denoise` is not.

    Args:
        prior: The denoiser.
        x: Noised samples, in prior space.
        sigma: Noise level of each sample, > 0, in prior-space units.

    Raises:
        ValueError: If `x` has other channels than the prior, or `sigma` is not one positive level a sample.

    Example:
        >>> import torch
        >>> from scorereg.priors import GaussianFieldPrior, score
        >>> prior = GaussianFieldPrior(size=8, channels=("inverse_depth",))
        >>> score(prior, torch.zeros(2, 1, 8, 8), torch.tensor([0.1, 0.5])).abs().max().item()
        0.0
    """
    check_patch(prior, x, sigma)
    level = sigma.reshape(-1, *[1] * (x.ndim - 1))
    return -residual(prior, x, sigma) / level.square()


def residual(prior: Prior, x: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b c *space"]:
    """Return `x - D(x, sigma)`.

    A prior may offer a method `residual` that forms it without D: next to x, D has lost the digits that a score at a
    small sigma consists of, as it is rounded to about 1e-7 and the score divides by sigma^2.
    """
    direct = getattr(prior, "residual", None)
    return x - prior.denoise(x, sigma) if direct is None else direct(x, sigma)


def check_patch(prior: Prior, x: Tensor, sigma: Tensor) -> tuple[float, float]:
    """Refuse what would broadcast to the wrong samples, and return the smallest and the largest sigma.

    Raises:
        ValueError: If `x` has other channels than the prior, or `sigma` is not one positive level a sample.
    """
    if x.ndim < 3 or x.shape[1] != len(prior.channels):
        raise ValueError(
            f"a prior of {len(prior.channels)} channels ({', '.join(prior.channels)}) got a patch of shape "
            f"{tuple(x.shape)}; give it batch, channels, space, with these channels in this order."
        )
    if sigma.shape != x.shape[:1]:
        raise ValueError(
            f"a prior needs one sigma a sample, shape ({x.shape[0]},), but got shape {tuple(sigma.shape)}. "
            "For one level everywhere, pass `sigma.expand(len(x))`."
        )
    levels = sigma.tolist() or [1.0]  # of no samples too; numbers wait for a GPU once, and cost next to nothing
    low = min(levels)
    if not (low > 0 and math.isfinite(sum(levels))):  # NaN anywhere is NaN in the sum
        raise ValueError(f"a prior needs finite sigma > 0; the smallest given is {low:g}.")
    return low, max(levels)


def conditioning_args(prior: Prior, known: Bool[Tensor, "..."] | None) -> tuple[Tensor, ...]:
    """Return the arguments of `prior.denoise` after x and sigma: `(known,)` if the prior is conditional, else `()`.

    Args:
        prior: Conditional if it has an attribute `conditional` that is true.
        known: Mask of the values that have no noise; None where there is none.
    """
    return (known,) if known is not None and getattr(prior, "conditional", False) else ()


def check_known(prior: Prior, known: Bool[Tensor, "..."] | None) -> None:
    """Refuse a mask that a prior could only ignore.

    Raises:
        ValueError: If there is a mask, and the prior is not conditional.
    """
    if known is not None and not conditioning_args(prior, known):
        card = getattr(prior, "card", None)
        who = f"a {type(prior).__name__}" if card is None else f"prior {card.name!r}"
        raise ValueError(
            f"`known` is for conditional priors, and {who} is not one: keep values as they are by "
            "ScoreLoss(prior)(patch, known=mask), or train a prior that is told them by `--known rgb`."
        )


def one_line(prior: Prior) -> str:
    """Return `repr(prior)`, or its class and channels where that is longer than one line, as a torch module's."""
    text = repr(prior)
    return text if "\n" not in text else f"{type(prior).__name__}(channels={' '.join(prior.channels)})"


def without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """A context in which autocast is off; next to nothing where it is off already, unlike torch's own."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
