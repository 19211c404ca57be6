r"""The second denoiser of variational score distillation: a copy of the prior, trained on the renders of a fit."""

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scorereg.priors.networks import SIGMA_DATA, NetworkPrior

__all__ = ["Particles", "RenderDenoiser"]


class RenderDenoiser(nn.Module):
    r"""A copy of a prior that is trained during a fit to denoise the current renders.

    Before the first step it equals the prior, and `estimators.vsd` has no gradient. Each call of `learn` is one step of
    Adam on

    $$ \frac{\sigma^2 + s^2}{(\sigma s)^2} \lVert D_\phi(x + \sigma n, \sigma) - x \rVert^2, \qquad s = 1/2, $$

    the training loss of the prior. A step costs about as much as three forward passes; weights, gradients and the state
    of Adam take four times the memory of the weights.

    Source: ProlificDreamer (arXiv 2305.16213), algorithm 1, with all weights in place of LoRA's.

    Args:
        prior: The prior to copy; it is not changed.
        rate: Learning rate of Adam.

    Raises:
        ValueError: If the prior is not a `NetworkPrior`.
    """

    def __init__(self, prior: NetworkPrior, *, rate: float = 1e-4) -> None:
        super().__init__()
        if not isinstance(prior, NetworkPrior):
            raise ValueError(
                f"RenderDenoiser trains a copy of a NetworkPrior, but got a {type(prior).__name__}, which cannot be "
                "trained. Give estimators.vsd a denoiser of your own."
            )
        self.copied = copy.deepcopy(prior).requires_grad_(True)
        self.optimizer = torch.optim.Adam(self.copied.parameters(), lr=rate)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, in order."""
        return self.copied.channels

    def denoise(self, x: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b c *space"]:
        return self.copied.denoise(x, sigma)

    def residual(self, x: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b c *space"]:
        """Return `x - denoise(x, sigma)`."""
        return self.copied.residual(x, sigma)

    def learn(self, x: Float[Tensor, "b c *space"], sigma: float, generator: torch.Generator | None = None) -> None:
        """Take one training step on a batch of renders at one noise level.

        Args:
            x: Current renders, in prior space; they get no gradient.
            sigma: Noise level, > 0: that of the next call of the loss.
            generator: Source of the noise.
        """
        x = x.detach()
        noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        with torch.enable_grad():
            error = self.copied(x + sigma * noise, x.new_full((len(x),), sigma)) - x
            loss = (sigma**2 + SIGMA_DATA**2) / (sigma * SIGMA_DATA) ** 2 * error.square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def get_extra_state(self) -> dict[str, Any]:
        """Return the state of Adam, which makes `state_dict` complete."""
        return self.optimizer.state_dict()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore the state of Adam."""
        self.optimizer.load_state_dict(state)


Particles = RenderDenoiser  # the earlier name
