"""Denoising error of a run's averaged network on held-out patches, with the same noise at every checkpoint."""

import torch

from scorereg._progress import stage, steps
from scorereg.data.source import Source, seeded
from scorereg.priors.base import Prior

__all__ = ["Validation"]

SIGMAS = (0.02, 0.1, 0.5)
_VALUES = 2**21  # most values of all patches, so that a validation costs little beside the steps between two


class Validation:
    """Mean squared denoising error of a prior on the set `"held-out"`.

    Args:
        source: Source of the patches.
        count: Most patches.
        chunk: Patches at a time.
    """

    def __init__(self, source: Source, count: int = 64, *, chunk: int = 16) -> None:
        self.chunk = chunk
        values = len(source.about.channels) * torch.Size(source.about.size).numel()
        with stage("patches to validate on"):
            self.x, self.weight = source.plain("held-out", min(count, max(_VALUES // values, 4)), seed=3)
        self.noise = torch.randn(self.x.shape, generator=seeded(3, 1))

    @torch.no_grad()
    def __call__(self, prior: Prior, device: torch.device) -> tuple[dict[float, float], float]:
        """Return the error by sigma, and the mean of error / sigma^2 over sigmas, which is 1 for the identity."""
        x, weight, noise = (each.to(device) for each in (self.x, self.weight, self.noise))
        errors = {}
        for sigma in steps("validation, noise levels", SIGMAS):
            parts = zip(x.split(self.chunk), weight.split(self.chunk), noise.split(self.chunk), strict=True)
            squares = [
                ((prior.denoise(a + sigma * n, torch.full((len(a),), sigma, device=device)) - a).square() * w).sum()
                for a, w, n in parts
            ]
            errors[sigma] = (torch.stack(squares).sum() / weight.sum().clamp_min(1)).item()
        return errors, sum(error / sigma**2 for sigma, error in errors.items()) / len(errors)
