"""Norms of gradients by patch and channel group, scaling by them, and a report that compares two gradients.

b c *space   a patch; its gradient has the same shape
group        r, g and b are one channel group; every other channel is a group of its own
groups       matrix of `channel_groups`
free         1 where a value may move, 0 elsewhere; `None` if all may
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = [
    "GradientReport",
    "append_spatial_axes",
    "channel_groups",
    "group_norms",
    "inverse_norm",
    "inverse_rms",
    "scale_tensor_to_data_norm",
    "scale_to_data_norm",
]


@dataclass(frozen=True, eq=False)
class GradientReport:
    """The gradients of the data and of the prior in one backward pass; each number is computed when it is read.

    A `torch.amp.GradScaler` scales both alike, so ratio and cosine do not depend on it.

    Args:
        data: Gradient of the data, one tensor or several.
        prior: Gradient of the prior that was added to each.

    Example:
        >>> import torch
        >>> from scorereg.score_loss.gradient_scale import GradientReport
        >>> report = GradientReport(data=(torch.tensor([3.0, 4.0]),), prior=(torch.tensor([0.0, 1.0]),))
        >>> report.data_norm, report.prior_norm, round(report.cosine, 3)
        (5.0, 1.0, 0.8)
    """

    data: tuple[Tensor, ...]
    prior: tuple[Tensor, ...]

    @property
    def data_norm(self) -> float:
        """Euclidean norm of the data's gradient."""
        return sum(_dot(g, g) for g in self.data) ** 0.5

    @property
    def prior_norm(self) -> float:
        """Euclidean norm of the prior's gradient."""
        return sum(_dot(g, g) for g in self.prior) ** 0.5

    @property
    def ratio(self) -> float:
        """Norm of the prior's gradient relative to the data's; infinite if the data's is 0."""
        return self.prior_norm / self.data_norm if self.data_norm > 0 else float("inf")

    @property
    def cosine(self) -> float:
        """Cosine of the angle between the two: 1 if they agree, -1 if they are opposed, 0 if one of them is zero."""
        dot = sum(_dot(one, other) for one, other in zip(self.data, self.prior, strict=True))
        return dot / norms if (norms := self.data_norm * self.prior_norm) > 0 else 0.0


def channel_groups(channels: Sequence[str]) -> Float[Tensor, "c c"]:
    """Matrix of channel groups: 1 / sqrt(k) where two channels are of one group of k, else 0."""
    group = ["rgb" if name in ("r", "g", "b") else name for name in channels]
    shares = [[(one == other) / group.count(one) ** 0.5 for other in group] for one in group]
    return torch.tensor(shares, dtype=torch.float32, device="cpu")  # whatever the defaults are where it is made


def group_norms(x: Float[Tensor, "b c *space"], groups: Float[Tensor, "c c"]) -> Float[Tensor, "b c"]:
    """Root mean square of the Euclidean norms of the channels in each channel's group, for each patch."""
    norms = torch.linalg.vector_norm(x.flatten(2), dim=2)
    return torch.linalg.vector_norm(norms[:, None, :] * groups.to(x), dim=2)  # autocast would round a matrix product


def inverse_norm(x: Float[Tensor, "b c *space"], groups: Float[Tensor, "c c"]) -> Float[Tensor, "b c"]:
    """1 / `group_norms`, with norms clamped to 1e-20 so that a patch of zeros stays one."""
    return group_norms(x, groups).clamp(min=1e-20).reciprocal()


def inverse_rms(
    x: Float[Tensor, "b c *space"], free: Float[Tensor, "..."] | None, groups: Float[Tensor, "c c"]
) -> tuple[float | Float[Tensor, "b c"], Float[Tensor, "b c"]]:
    """1 / root mean square over the free values of each patch and channel group, as two factors; `x` is 0 elsewhere.

    They are the root of the number of free values, and `inverse_norm`.
    """
    inverse = inverse_norm(x, groups)
    if free is None:
        return math.prod(x.shape[2:]) ** 0.5, inverse
    counts = free.expand_as(x).flatten(2).sum(dim=2)
    return (counts[:, None, :] * groups.to(x).square()).sum(dim=2).sqrt(), inverse


def scale_to_data_norm(
    gradient: Float[Tensor, "b c *space"],
    data: Float[Tensor, "b c *space"],
    *,
    free: Float[Tensor, "..."] | None,
    groups: Float[Tensor, "c c"],
) -> Float[Tensor, "b c *space"]:
    """Multiply the gradient by the norm of the data's over free values, for each patch and channel group."""
    norms = group_norms(data if free is None else data * free, groups)
    return gradient * append_spatial_axes(norms, gradient.ndim)


def scale_tensor_to_data_norm(
    gradient: Float[Tensor, "..."], data: Float[Tensor, "..."], *, ratio: float
) -> Float[Tensor, "..."]:
    """Scale the gradient to `ratio` times the norm of the data's, both over the whole tensor; zero stays zero."""
    norm = torch.linalg.vector_norm(gradient)
    return gradient * torch.where(norm > 0, ratio * torch.linalg.vector_norm(data) / norm, 0.0)


@overload
def append_spatial_axes(factor: Tensor, dimensions: int) -> Tensor: ...
@overload
def append_spatial_axes(factor: float, dimensions: int) -> float: ...
def append_spatial_axes(factor: Tensor | float, dimensions: int) -> Tensor | float:
    """Append axes of length 1 up to a number of dimensions, to multiply patches by a factor of each; numbers stay."""
    return factor[(...,) + (None,) * (dimensions - factor.ndim)] if isinstance(factor, Tensor) else factor


def _dot(one: Tensor, other: Tensor) -> float:
    return (one.double() * other.double()).sum().item()
