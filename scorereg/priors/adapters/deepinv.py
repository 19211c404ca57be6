"""Priors as denoisers of DeepInverse, which are called as `denoiser(x, sigma)` with x in [0, 1].

The other direction is `wrap(denoiser, prediction="denoised", data_range=(0, 1), channels=("r", "g", "b"))`.
`deepinv.loss.ScoreLoss` trains a network, unlike this library's regulariser of the same name.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scorereg.priors.base import Prior

__all__ = ["as_deepinv"]


def as_deepinv(prior: Prior) -> nn.Module:
    """Convert a prior to a denoiser of deepinv, for `deepinv.optim.PnP`, `RED` and `ScorePrior`.

    Input u and output are in [0, 1], noise levels in the same units: `x = 2 u - 1`, `sigma = 2 sigma_u`. Values are not
    clipped, and the output has no gradient. Does not import deepinv.

    Args:
        prior: Prior with every channel in [-1, 1].

    Example:
        >>> import torch
        >>> from scorereg import GaussianFieldPrior, as_deepinv
        >>> denoiser = as_deepinv(GaussianFieldPrior(size=8, channels=("gray",)))
        >>> denoiser(torch.full((1, 1, 8, 8), 0.5), 0.1).unique().tolist()
        [0.5]
    """
    return _Denoiser(prior)


class _Denoiser(nn.Module):
    """A denoiser with deepinv's argument names."""

    def __init__(self, prior: Prior) -> None:
        super().__init__()
        self.prior = prior

    @torch.no_grad()
    def forward(self, x: Float[Tensor, "b c *space"], sigma: object) -> Float[Tensor, "b c *space"]:
        """Denoise; sigma is a number, or a tensor of any shape with one level, or one level per sample."""
        level = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).reshape(-1).expand(len(x))
        return (self.prior.denoise(2 * x - 1, 2 * level) + 1) / 2
