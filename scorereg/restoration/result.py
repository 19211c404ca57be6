"""What a restoration and a sampler return."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

__all__ = ["Draws", "Restored"]


@dataclass(frozen=True)
class Restored:
    """A restored image and how it came about.

    Args:
        image: The restored images, in the user's range.
        steps: Number of steps that were taken.
        calls: Number of calls of the denoiser, each of the whole batch.
        residuals: Root mean square of (measure(image) - y) / noise after each step, mean over the batch: about 1 where
            an image explains the measurement as well as the truth does, below 1 where it fits the noise.
        method: Name of the method.
    """

    image: Float[Tensor, "b c *space"]
    steps: int
    calls: int
    residuals: tuple[float, ...]
    method: str


@dataclass(frozen=True)
class Draws:
    """Draws from the posterior of an image.

    Args:
        images: Draws of each image of the batch, in the user's range.
        calls: Number of calls of the denoiser.
        residuals: Root mean square of (measure(draw) - y) / noise of each draw.
        method: Name of the method.
    """

    images: Float[Tensor, "n b c *space"]
    calls: int
    residuals: Float[Tensor, "n b"]
    method: str

    @property
    def mean(self) -> Float[Tensor, "b c *space"]:
        """Mean of the draws, the estimate of least squared error."""
        return self.images.mean(0)

    @property
    def std(self) -> Float[Tensor, "b c *space"]:
        """Standard deviation of the draws at each pixel."""
        return self.images.std(0, correction=0) if len(self.images) < 2 else self.images.std(0)
