"""How large a gradient may be: sizes by patch and channel group, and a report that compares two gradients.

b c *space   a patch; its gradient has the same shape
group        r, g and b together, as colours belong together, and each other channel for itself
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
    "group_norms",
    "over_norm",
    "over_rms",
    "over_space",
    "same_scale",
    "share_of_groups",
    "share_of_tensor",
]


@dataclass(frozen=True, eq=False)
class GradientReport:
    """The gradient of the data and that of the prior, where they met; every number is worked out when it is asked for.

    A `torch.amp.GradScaler` scales both alike, so ratio and cosine are as without it.

    Args:
        data: The gradient that arrived, one tensor or several.
        prior: What was added to each.

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
        """Norm of the prior's gradient in units of the data's; infinite where there is no data."""
        return self.prior_norm / self.data_norm if self.data_norm > 0 else float("inf")

    @property
    def cosine(self) -> float:
        """1 where both pull the same way, -1 where they fight, 0 where one of them is zero."""
        dot = sum(_dot(one, other) for one, other in zip(self.data, self.prior, strict=True))
        return dot / norms if (norms := self.data_norm * self.prior_norm) > 0 else 0.0


def same_scale(channels: Sequence[str]) -> Float[Tensor, "c c"]:
    """1 / sqrt(k) where two channels are of one group of k, else 0."""
    group = ["rgb" if name in ("r", "g", "b") else name for name in channels]
    return torch.tensor([[(one == other) / group.count(one) ** 0.5 for other in group] for one in group])


def group_norms(x: Float[Tensor, "b c *space"], together: Float[Tensor, "c c"]) -> Float[Tensor, "b c"]:
    """Euclidean norm of a channel, as a root mean square over the channels of its group, for each patch.

    Not by a matrix product, which autocast would round to half precision.
    """
    norms = torch.linalg.vector_norm(x.flatten(2), dim=2)
    return torch.linalg.vector_norm(norms[:, None, :] * together.to(x), dim=2)


def over_norm(x: Float[Tensor, "b c *space"], together: Float[Tensor, "c c"]) -> Float[Tensor, "b c"]:
    """1 / `group_norms`; those below 1e-20, zero among them, count as that, so that a patch of zeros stays one."""
    return group_norms(x, together).clamp(min=1e-20).reciprocal()


def over_rms(
    x: Float[Tensor, "b c *space"], free: Float[Tensor, "..."] | None, together: Float[Tensor, "c c"]
) -> tuple[float | Float[Tensor, "b c"], Float[Tensor, "b c"]]:
    """Two factors of 1 / root mean square of each patch and channel group over the values that are free.

    The root of their number, and `over_norm`. `x` is 0 at the others.
    """
    over = over_norm(x, together)
    if free is None:
        return math.prod(x.shape[2:]) ** 0.5, over
    counts = free.expand_as(x).flatten(2).sum(dim=2)
    return (counts[:, None, :] * together.to(x).square()).sum(dim=2).sqrt(), over


def share_of_groups(
    gradient: Float[Tensor, "b c *space"],
    data: Float[Tensor, "b c *space"],
    *,
    free: Float[Tensor, "..."] | None,
    together: Float[Tensor, "c c"],
) -> Float[Tensor, "b c *space"]:
    """Scale the gradient of each patch and channel group by the norm that the data's has there on free values."""
    sizes = group_norms(data if free is None else data * free, together)
    return gradient * over_space(sizes, gradient.ndim)


def share_of_tensor(
    gradient: Float[Tensor, "..."], data: Float[Tensor, "..."], *, ratio: float
) -> Float[Tensor, "..."]:
    """Scale the gradient to a norm of `ratio` times that of the data's; where it is 0 it stays 0."""
    norm = torch.linalg.vector_norm(gradient)
    return gradient * torch.where(norm > 0, ratio * torch.linalg.vector_norm(data) / norm, 0.0)


@overload
def over_space(factor: Tensor, dimensions: int) -> Tensor: ...
@overload
def over_space(factor: float, dimensions: int) -> float: ...
def over_space(factor: Tensor | float, dimensions: int) -> Tensor | float:
    """Append axes of length 1, so that a factor of each patch (and channel) meets every value."""
    return factor[(...,) + (None,) * (dimensions - factor.ndim)] if isinstance(factor, Tensor) else factor


def _dot(one: Tensor, other: Tensor) -> float:
    return (one.double() * other.double()).sum().item()
