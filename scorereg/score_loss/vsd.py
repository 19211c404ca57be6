r"""The second denoiser of variational score distillation: a copy of the prior that learns what is being fitted."""

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scorereg.priors.networks.edm import SIGMA_DATA, NetworkPrior

__all__ = ["Particles"]


class Particles(nn.Module):
    r"""A copy of a prior, trained along with a fit to denoise the present renders.

    It begins as the prior, so `estimators.vsd` then moves nothing. Each call of `learn` is one step of Adam on

    $$ \frac{\sigma^2 + s^2}{(\sigma s)^2} \lVert D_\phi(x + \sigma n, \sigma) - x \rVert^2, \qquad s = 1/2, $$

    which is the loss that the prior was trained by. It costs three forward passes, and the memory of the weights four
    times.

    Source: ProlificDreamer (arXiv 2305.16213), algorithm 1, with all weights in place of LoRA's.

    Args:
        prior: What is copied; it stays as it is.
        rate: Of Adam.

    Raises:
        ValueError: If the prior is none that can be trained.
    """

    def __init__(self, prior: NetworkPrior, *, rate: float = 1e-4) -> None:
        super().__init__()
        if not isinstance(prior, NetworkPrior):
            raise ValueError(
                f"Particles train a copy of a NetworkPrior, but got a {type(prior).__name__}, which cannot be trained. "
                "Give estimators.vsd a denoiser of your own."
            )
        self.copied = copy.deepcopy(prior).requires_grad_(True)
        self.optimiser = torch.optim.Adam(self.copied.parameters(), lr=rate)

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
        """Take one step towards the denoiser of these patches at a noise level.

        Args:
            x: The renders as they are now, in prior space; no gradient goes to them.
            sigma: At which the loss asks next.
            generator: Source of the noise.
        """
        x = x.detach()
        noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        with torch.enable_grad():
            error = self.copied(x + sigma * noise, x.new_full((len(x),), sigma)) - x
            loss = (sigma**2 + SIGMA_DATA**2) / (sigma * SIGMA_DATA) ** 2 * error.square().mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()

    def get_extra_state(self) -> dict[str, Any]:
        """What Adam remembers, so that `state_dict` is all that a step changes."""
        return self.optimiser.state_dict()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Go back to what `get_extra_state` returned."""
        self.optimiser.load_state_dict(state)
