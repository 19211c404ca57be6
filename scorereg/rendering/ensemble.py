r"""Ensembles: fields that were fitted from different random numbers, rendered together.

Few photos leave much open, and every fit fills it in otherwise. What the members share is kept by their mean, the rest
is averaged away, and how far they differ tells where the mean is a guess (deep ensembles, Lakshminarayanan 2017; for
radiance fields Sunderhauf 2022).
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Ensemble", "Image", "mean_image", "members_of", "spread_of"]

Image = tuple[Tensor, Tensor, Tensor]  # color, depth and opacity, of rays of shape (h, w)


class Ensemble(nn.Module):
    """Several fields, or several proposals, as one.

    A fit renders each of `members` and takes the mean of the renders. Called as a field, it returns the mean density
    and the mean color weighted by density; as a proposal, the mean density.

    Args:
        members: At least one module, all called alike.

    Raises:
        ValueError: If there is none.
    """

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members: Any = nn.ModuleList(members)
        if not self.members:
            raise ValueError("an Ensemble needs at least one member, got none.")

    def forward(self, *given: Tensor) -> Any:
        """Return the mean density, and with it the mean color where the members return colors."""
        results = [member(*given) for member in self.members]
        if isinstance(results[0], Tensor):
            return torch.stack(results).mean(0)
        density = torch.stack([density for density, _ in results])
        share = density / density.sum(0).clamp_min(1e-12)
        return density.mean(0), (share[..., None] * torch.stack([rgb for _, rgb in results])).sum(0)

    def set_active_levels(self, share: float) -> None:
        """Activate the levels of each member that has them."""
        for member in self.members:
            if hasattr(member, "set_active_levels"):
                member.set_active_levels(share)  # pyright: ignore[reportCallIssue]


def members_of(part: Any, count: int) -> list[Any]:
    """Return the members of an ensemble; of anything else, as a function that all share, as many of the same."""
    return list(part.members) if isinstance(part, Ensemble) else [part] * count


def mean_image(images: Sequence[Image]) -> Image:
    r"""Return the mean of the members' colors and opacities, and the depth of their mean weights.

    A member's depth is $\sum_i w_i t_i / \sum_i w_i$, so that of the mean weights is the mean of the members' depths
    weighted by their opacities.

    Args:
        images: Color (h, w, 3), planar depth (h, w) and opacity (h, w) of each member.
    """
    if len(images) == 1:
        return images[0]
    rgb, depth, opacity = (torch.stack(parts) for parts in zip(*images, strict=True))
    total = opacity + 1e-6  # as `render` divides
    return rgb.mean(0), (total * depth).sum(0) / total.sum(0), opacity.mean(0)


def spread_of(images: Sequence[Image]) -> tuple[Float[Tensor, "h w"], Float[Tensor, "h w"]]:
    """Return how far the members differ, a pixel: standard deviation of color and relative one of depth.

    That of color is the root of the mean variance of the three channels, in units of color. That of depth is of its
    logarithm, so that .1 is about 10 %. Both divide by K - 1 for K members.

    Args:
        images: Color, planar depth and opacity of each member; at least two.

    Raises:
        ValueError: If there are fewer than two.
    """
    if len(images) < 2:
        raise ValueError("one member has no spread. Fit more: --members 4, or fit_scene(..., members=4).")
    rgb, depth, _ = (torch.stack(parts) for parts in zip(*images, strict=True))
    return rgb.var(0).mean(-1).sqrt(), depth.clamp_min(1e-6).log().std(0)
