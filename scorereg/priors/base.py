r"""The `Prior` protocol, and the score of a denoiser by Tweedie's formula.

`x` is in prior space: every channel in [-1, 1], unless the card gives another range. Noise is variance exploding,
`x_sigma = x + sigma n`, with one sigma per sample. There are one, two or three spatial dimensions.
"""

import functools
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

__all__ = [
    "Prior",
    "check_finite_output",
    "check_known",
    "check_patch",
    "conditioning_args",
    "evaluating",
    "one_line",
    "residual",
    "score",
    "tiles_hint",
    "without_autocast",
]


@runtime_checkable
class Prior(Protocol):
    """A denoiser with named channels: a protocol, so that no base class has to be inherited.

    Optional attributes: `card` (`PriorCard`); `conditional`, true if `denoise` takes a mask of known values as third
    argument; `residual(x, sigma)`, see `residual`.
    """

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, in order."""
        ...

    def denoise(self, x: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b c *space"]:
        """Return the posterior mean `E[x_0 | x_0 + sigma n = x]`, in prior space, without changing `x`."""
        ...


def score(prior: Prior, x: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b c *space"]:
    r"""Return the score of the noised prior, by Tweedie's formula.

    $$ \nabla_x \log p_\sigma(x) = \frac{D(x, \sigma) - x}{\sigma^2} $$

    Differentiable to `x` only if the prior's `denoise` is. Source: Robbins 1956, and Efron 2011 ("Tweedie's formula").

    Args:
        prior: The denoiser.
        x: Noised samples, in prior space.
        sigma: Noise level of each sample, > 0, in prior-space units.

    Raises:
        ValueError: If `x` has other channels than the prior, or `sigma` is not one positive level per sample.

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
    """Return `x - D(x, sigma)`, by the prior's own method `residual` if it has one.

    Such a method avoids the cancellation in x - D: in float32 D has a rounding error of about 1e-7, which the score
    divides by sigma^2.
    """
    direct = getattr(prior, "residual", None)
    return x - prior.denoise(x, sigma) if direct is None else direct(x, sigma)


def check_patch(prior: Prior, x: Tensor, sigma: Tensor) -> tuple[float, float]:
    """Check the shapes of `x` and `sigma`, which could broadcast unnoticed, and return the smallest and largest sigma.

    In a graph of `torch.compile` both are NaN, and the levels are not checked.

    Raises:
        ValueError: If `x` has other channels than the prior, or `sigma` is not one positive level per sample.
    """
    if not isinstance(x, Tensor):
        raise ValueError(f"a prior needs a tensor, but got a {type(x).__name__}. Make one: torch.as_tensor(patch).")
    if x.ndim < 3 or x.shape[1] != len(prior.channels):
        raise ValueError(
            f"a prior of {len(prior.channels)} channels ({', '.join(prior.channels)}) got a patch of shape "
            f"{tuple(x.shape)}; give it batch, channels, space, with these channels in this order."
        )
    if not x.is_floating_point():
        raise ValueError(
            f"a prior needs patches of floats in its range, but got {x.dtype}. Convert and scale them first."
        )
    if x.is_meta or (isinstance(sigma, Tensor) and sigma.is_meta):
        what = "a patch" if x.is_meta else "a sigma"
        raise ValueError(f"a prior needs values, but got {what} on the device meta, which has none. Make it elsewhere.")
    if not isinstance(sigma, Tensor) or sigma.shape != x.shape[:1]:
        found = f"shape {tuple(sigma.shape)}" if isinstance(sigma, Tensor) else f"a {type(sigma).__name__}"
        raise ValueError(
            f"a prior needs one sigma per sample, shape ({x.shape[0]},), but got {found}. "
            "For one level everywhere, pass `sigma.expand(len(x))`."
        )
    if torch.compiler.is_compiling():  # a graph has no numbers to look at
        return math.nan, math.nan
    levels = sigma.tolist() or [1.0]  # an empty batch passes; one transfer from a GPU instead of one per check
    low = min(levels)
    if not (low > 0 and math.isfinite(sum(levels))):  # the sum is NaN if any level is
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
    """Check that a prior which is given a mask of known values is conditional.

    Raises:
        ValueError: If there is a mask and the prior is not conditional.
    """
    if known is not None and not conditioning_args(prior, known):
        card = getattr(prior, "card", None)
        who = f"a {type(prior).__name__}" if card is None else f"prior {card.name!r}"
        raise ValueError(
            f"`known` is for conditional priors, and {who} is not one: hold known values fixed with "
            "ScoreLoss(prior)(patch, known=mask), or train a conditional prior with `--known rgb`."
        )


def one_line(prior: Prior) -> str:
    """Return `repr(prior)`, or its class and channels where that is longer than one line, as a torch module's."""
    text = repr(prior)
    return text if "\n" not in text else f"{type(prior).__name__}(channels={' '.join(prior.channels)})"


def tiles_hint(size: tuple[int, ...], given: tuple[int, ...]) -> str:
    """Return what to do with a patch of another size than the prior's, as the end of an error.

    Args:
        size: The prior's patch size in pixels; empty if unknown.
        given: The patch's.
    """
    if len(size) != len(given):
        return "Give patches of the size that it was trained on."
    if any(have < side for have, side in zip(given, size, strict=True)):
        return (
            "Give patches of that size, at the card's focal length if it has one; a smaller patch cannot be denoised."
        )
    calls = math.prod(-(-(have - side) // (side - side // 2)) + 1 for have, side in zip(given, size, strict=True))
    return (
        "Give patches of that size, at the card's focal length if it has one; or denoise larger ones by "
        f"TiledPrior(prior), which evaluates {calls} tiles in place of one patch and takes about as many times as long."
    )


def without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Return a context without autocast; unlike `torch.autocast`, free of cost if autocast is off already."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


@contextmanager
def evaluating(network: Any) -> Iterator[None]:
    """Put a module into evaluation mode for the time of a call, whatever its owner has set since, and back.

    Looked at are the module and those right inside it, as a look at every part would take visible time.

    Args:
        network: A module, also inside `functools.partial`; anything else is left alone.
    """
    while isinstance(network, functools.partial):
        network = network.func
    trained: list[nn.Module] = []
    if isinstance(network, nn.Module) and (network.training or any(part.training for part in network.children())):
        trained = [part for part in network.modules() if part.training]
    for part in trained:
        part.training = False
    try:
        yield
    finally:
        for part in trained:
            part.training = True


def check_finite_output(out: Tensor, z: Tensor, name: str) -> None:
    """Check that a network returned numbers for an input of numbers.

    Raises:
        ValueError: If not.
    """
    if not bool(out.isfinite().all()) and bool(z.isfinite().all()):
        bad = int((~out.isfinite()).sum())
        raise ValueError(
            f"the network of prior {name!r} returned NaN or infinity in {bad} of {out.numel()} values: its training "
            "diverged, or its weights are damaged or too large for half precision. Take another checkpoint, or leave "
            "autocast and half precision out."
        )
