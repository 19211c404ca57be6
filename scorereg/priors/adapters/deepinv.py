"""To and from deepinv's denoisers, which are called as `denoiser(x, sigma)` with x in [0, 1].

From deepinv no module is needed: `wrap(denoiser, prediction="denoised", data_range=(0, 1), channels=("r", "g", "b"))`.
(`deepinv.loss.ScoreLoss` trains a network; it is not this library's regulariser of the same name.)
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scorereg.priors.base import Prior

__all__ = ["as_deepinv"]


def as_deepinv(prior: Prior) -> nn.Module:
    """Return a prior as a module that deepinv takes as a denoiser, for `deepinv.optim.PnP`, `RED` and `ScorePrior`.

    Patches in [0, 1] and noise levels of that range go in, a patch in [0, 1] comes out: `x = 2 u - 1`, `sigma = 2
    sigma_u`. deepinv itself is not needed. Values are not clipped, and nothing is differentiated.

    Args:
        prior: The prior, with every channel in [-1, 1].

    Example:
        >>> import torch
        >>> from scorereg import GaussianFieldPrior
        >>> from scorereg.priors import as_deepinv
        >>> denoiser = as_deepinv(GaussianFieldPrior(size=8, channels=("gray",)))
        >>> denoiser(torch.full((1, 1, 8, 8), 0.5), 0.1).unique().tolist()
        [0.5]
    """
    return _Denoiser(prior)


class _Denoiser(nn.Module):
    """The names of the arguments are deepinv's."""

    def __init__(self, prior: Prior) -> None:
        super().__init__()
        self.prior = prior

    @torch.no_grad()
    def forward(self, x: Float[Tensor, "b c *space"], sigma: object) -> Float[Tensor, "b c *space"]:
        """Denoise; sigma is a number, or a tensor of one level or of one a sample, of any number of dimensions."""
        level = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).reshape(-1).expand(len(x))
        return (self.prior.denoise(2 * x - 1, 2 * level) + 1) / 2
