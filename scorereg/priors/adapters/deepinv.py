"""Priors as denoisers of DeepInverse, and its denoisers as priors; both without importing it.

Its denoisers are called as `denoiser(x, sigma)` with x in [0, 1] and sigma in the same units.
`deepinv.loss.ScoreLoss` trains a network, unlike this library's regulariser of the same name.
"""

import dataclasses
import warnings
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scorereg.priors.adapters.diffusers import NAMED, channel_names
from scorereg.priors.adapters.unwrapped import inner_module
from scorereg.priors.adapters.wrapped import WrappedPrior, wrap
from scorereg.priors.base import Prior
from scorereg.priors.composition import check_prior
from scorereg.priors.outside import denoise_clamped, with_graph

_BEYOND = 0.75  # how far the iterates of a method may leave [0, 1]
_DEVIATIONS = 6  # of the noise, that values of an image may be off

__all__ = ["as_deepinv", "from_deepinv", "is_deepinv", "prior_inside"]


def as_deepinv(prior: Prior, *, outside: Literal["clamp", "raise"] = "clamp") -> nn.Module:
    """Convert a prior to a denoiser of deepinv, for its PnP and RED, its samplers (DPS, DiffPIR, PiGDM) and its losses.

    Input u and output are in [0, 1], noise levels in the same units; of a prior on [-1, 1], `x = 2 u - 1` and
    `sigma = 2 sigma_u`. Values are not clipped; those far outside, beyond the noise, are
    warned of once. Differentiable to u, and to weights that require a gradient
    (`prior.requires_grad_()`). Does not import deepinv. `load_prior` gives the prior back.

    Args:
        prior: Prior of images: one over latents has no [0, 1].
        outside: Noise levels outside the range of the prior's card, which deepinv's samplers pass through:
            `"clamp"`, by the formulas of `scorereg.priors.outside`; or `"raise"` the prior's own error.

    Raises:
        ValueError: If it is no prior, or one over latents, or `outside` is another word.

    Example:
        >>> import torch
        >>> from scorereg import GaussianFieldPrior, as_deepinv
        >>> denoiser = as_deepinv(GaussianFieldPrior(size=8, channels=("gray",)))
        >>> denoiser(torch.full((1, 1, 8, 8), 0.5), 0.1).unique().tolist()
        [0.5]
    """
    if isinstance(prior, _Denoiser) or is_deepinv(prior):
        how = "that as_deepinv made" if isinstance(prior, _Denoiser) else "of deepinv"
        raise ValueError(f"as_deepinv got a denoiser {how} already. Use it as it is.")
    check_prior(prior, "as_deepinv")
    if getattr(prior, "transform", None) is not None:
        raise ValueError(
            "as_deepinv needs a prior of images in [0, 1], but this one is over latents. Restore latents instead, with "
            "scorereg.restore(lambda z: measure(prior.transform.inverse(z)), y, prior, ...)."
        )
    if outside not in ("clamp", "raise"):
        raise ValueError(f"outside is 'clamp' or 'raise', but got {outside!r}.")
    return _Denoiser(prior, clamp=outside == "clamp")


def is_deepinv(source: Any) -> bool:
    """Return whether an object is of a class of deepinv, or of one that inherits from such a class."""
    return any(kind.__module__.split(".")[0] == "deepinv" for kind in type(source).__mro__)


def prior_inside(source: Any) -> Prior | None:
    """Return the prior that `as_deepinv` made a denoiser of; None for anything else."""
    return source.prior if isinstance(source, _Denoiser) else None


def from_deepinv(
    denoiser: Any,
    *,
    channels: tuple[str, ...] | None = None,
    size: tuple[int, ...] | None = None,
    device: str | torch.device = "cpu",
) -> WrappedPrior:
    """Make a prior of a denoiser of deepinv, whose images are in [0, 1].

    Args:
        denoiser: A `deepinv.models.Denoiser`; it is put into evaluation mode and moved.
        channels: Channel names; by default gray or r, g, b, if the denoiser says how many channels it has.
        size: Spatial shape of a training patch.
        device: Device of the denoiser.

    Raises:
        ValueError: If it is another object of deepinv, or the channels have no names.
    """
    denoiser = inner_module(denoiser)
    name = type(denoiser).__name__
    if not any(kind.__name__ == "Denoiser" for kind in type(denoiser).__mro__):
        raise ValueError(f"a {name} of deepinv is no Denoiser; give one, such as deepinv.models.DRUNet.")
    count = getattr(denoiser, "in_channels", None)
    if channels is None and not isinstance(count, int):
        raise ValueError(
            f"the channels of {name} have no names. Give them: load_prior(denoiser, channels=('r', 'g', 'b'))."
        )
    names = channel_names(len(channels or ()) if channels else count or 0, channels, name)
    prior = wrap(
        denoiser.to(device).eval(), prediction="denoised", data_range=(0, 1), channels=names, size=tuple(size or ())
    )
    prior.card = dataclasses.replace(prior.card, architecture=f"deepinv {name}", assumed=() if channels else (NAMED,))
    return prior


class _Denoiser(nn.Module):
    """A denoiser with deepinv's argument names."""

    def __init__(self, prior: Prior, *, clamp: bool = True) -> None:
        super().__init__()
        self.prior = prior
        self.clamp = clamp
        self._warned = False  # of values far outside [0, 1]
        self.low, self.high = getattr(getattr(prior, "card", None), "range", (-1.0, 1.0))
        self.in_channels = self.out_channels = len(prior.channels)

    def forward(
        self, x: Float[Tensor, "b c *space"], sigma: object = None, *args: object, **kwargs: object
    ) -> Float[Tensor, "b c *space"]:
        """Denoise; sigma is a number, or a tensor of any shape with one level, or one level per sample.

        Raises:
            ValueError: If there is no sigma, or neither one nor one per sample, or x is no tensor of floats.
        """
        if not isinstance(x, Tensor) or not x.is_floating_point():
            found = str(x.dtype) if isinstance(x, Tensor) else f"a {type(x).__name__}"
            cure = " Give x.float() / 255." if found == "torch.uint8" else ""
            raise ValueError(f"the denoiser needs images of floats in [0, 1], but got {found}.{cure}")
        try:
            level = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).reshape(-1).expand(len(x))
        except (RuntimeError, TypeError, ValueError):
            shown = f"shape {tuple(sigma.shape)}" if isinstance(sigma, Tensor) else repr(sigma)
            raise ValueError(
                f"the denoiser needs one noise level, or one for each of {len(x)} images, but got {shown}."
            ) from None
        unit = self.high - self.low
        with with_graph():
            call = denoise_clamped if self.clamp else _denoise
            denoised = (call(self.prior, self.low + unit * x, unit * level) - self.low) / unit
        self._warned = self._warned or _warn_of_range(x, level)
        return denoised


def _warn_of_range(x: Tensor, level: Tensor) -> bool:
    """Warn of values that no image in [0, 1] has with noise of this level, and return whether."""
    if not x.numel():
        return False
    low, high, noise = torch.stack([x.min(), x.max(), _DEVIATIONS * level.max()]).detach().tolist()
    if low >= -_BEYOND - noise and high <= 1 + _BEYOND + noise:
        return False
    warnings.warn(
        f"the denoiser takes images in [0, 1] and got values from {low:g} to {high:g}, more than its noise explains. "
        "Scale them: x / 255, or (x + 1) / 2, and sigma likewise.",
        stacklevel=5,
    )
    return True


def _denoise(prior: Prior, x: Tensor, sigma: Tensor) -> Tensor:
    return prior.denoise(x, sigma)
