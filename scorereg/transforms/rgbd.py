r"""Conversion of rendered colours and depth to RGB-D patches in prior space, and back.

    rgb      b 3 h w, colours in [0, 1]
    depth    b h w, planar z in metres (or the unit of `d_min`), divided by the opacity
    patch    b 4 h w, prior space: every channel in [-1, 1], ordered r, g, b, disparity

The conversion is differentiable, so autograd returns the prior's gradient in the renderer's units.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from einops import pack, rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from scorereg.priors.card import PriorCard

__all__ = ["RGBD"]

_FARTHEST = 1000.0  # in units of d_min: the depth that `inverse` returns for a disparity of zero


@dataclass(frozen=True)
class RGBD:
    r"""Colours and planar depth to patches of four channels in prior space, and back.

    $$ x_{rgb} = 2\,\mathrm{rgb} - 1, \qquad x_{disparity} = 2\,\frac{d_{min}}{\max(z, d_{min})} - 1 $$

    Differentiable to rgb and depth. At depths below `d_min`, zero and negative ones too, the gradient is that at
    `d_min`, $-2 / d_{min}$, because the derivative of the formula is zero there and floaters before the camera could
    not move.

    Args:
        d_min: Depth at which disparity is 1 in metres, > 0; smaller depths are clamped. It is on a prior's card.

    Example:
        >>> import torch
        >>> from scorereg import RGBD
        >>> transform = RGBD(d_min=0.5)
        >>> patch = transform(torch.ones(1, 3, 1, 2), torch.tensor([[[0.5, 2.0]]]))
        >>> patch[0, :, 0].tolist()
        [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [1.0, -0.5]]
        >>> transform.inverse(patch)[1].tolist()
        [[[0.5, 2.0]]]
    """

    d_min: float | int = 0.5
    channels: ClassVar[tuple[str, ...]] = ("r", "g", "b", "disparity")

    def __post_init__(self) -> None:
        if not 0 < self.d_min < float("inf"):
            raise ValueError(f"RGBD needs d_min > 0, the depth in metres at which disparity is 1; got {self.d_min}.")

    @classmethod
    def for_card(cls, card: PriorCard) -> "RGBD":
        """Return the transform of a prior's training data, from its card.

        Raises:
            ValueError: If the channels, range or kind of depth on the card are not those of this transform.
        """
        transform = cls() if card.d_min is None else cls(d_min=card.d_min)
        transform.check(card)
        return transform

    def check(self, card: PriorCard) -> None:
        """Raise if a prior's card contradicts this transform.

        Raises:
            ValueError: If channels, range, kind of depth or `d_min` differ.
        """
        here = {"channels": self.channels, "range": (-1.0, 1.0), "depth": "planar", "d_min": float(self.d_min)}
        remedy = {
            "channels": "Choose a prior for these channels, or build the patch with another transform",
            "range": "Rescale the prior to it",
            "depth": "Choose a prior that was trained with planar depth",
            "d_min": "Use RGBD.for_card(card)" if card.d_min else "Complete the card",
        }
        for name, mine in here.items():
            theirs = getattr(card, name)
            if _plain(theirs) != _plain(mine):
                raise ValueError(
                    f"RGBD makes patches with {name} {mine!r}, but the prior {card.name!r} was trained with "
                    f"{theirs!r}. {remedy[name]}."
                )

    def __call__(
        self, rgb: Float[Tensor, "b 3 h w"], depth: Float[Tensor, "b h w"] | Float[Tensor, "b 1 h w"]
    ) -> Float[Tensor, "b 4 h w"]:
        """Return the patch in prior space.

        Args:
            rgb: Colours in [0, 1].
            depth: Planar z in metres; a channel of its own, `b 1 h w`, means the same.

        Raises:
            ValueError: If the shapes do not match, or, on a CPU, a depth is NaN or infinite; elsewhere it becomes NaN.
        """
        depth = depth[:, 0] if depth.ndim == 4 and depth.shape[1] == 1 else depth
        _check_render(rgb, depth)
        clamped = depth.detach().clamp(min=self.d_min)
        passed = clamped + (depth - depth.detach())  # value `clamped`, gradient 1 to depth
        patch, _ = pack([rgb, self.d_min / passed], "b * h w")
        return 2 * patch - 1

    def inverse(self, patch: Float[Tensor, "b 4 h w"]) -> tuple[Float[Tensor, "b 3 h w"], Float[Tensor, "b h w"]]:
        """Return colours and depth in metres, at most 1000 `d_min`; a depth below `d_min` is not recovered.

        Raises:
            ValueError: If the patch does not have four channels.
        """
        if patch.ndim != 4 or patch.shape[1] != 4:
            raise ValueError(f"RGBD.inverse needs a patch of shape (b, 4, h, w), got {tuple(patch.shape)}.")
        unit = (patch + 1) / 2
        return unit[:, :3], self.d_min / unit[:, 3].clamp(min=1 / _FARTHEST)

    def photo_mask(
        self, photo: Bool[Tensor, " b"] | Bool[Tensor, "b h w"], depth: Bool[Tensor, "b h w"] | None = None
    ) -> Bool[Tensor, "b 4 #h #w"]:
        """Return the mask `known` for `ScoreLoss`: True at colours that were taken from a photo, and at known depths.

        Args:
            photo: True for patches, or for pixels, with colours from a photo.
            depth: True for pixels with known depth; if not given, depth still moves everywhere.
        """
        photo = photo if photo.ndim == 3 else rearrange(photo, "b -> b 1 1")
        depth = torch.zeros_like(photo) if depth is None else depth
        both = torch.stack(torch.broadcast_tensors(photo, depth), 1)
        return torch.cat([both[:, :1], both[:, :1], both], 1)  # of r, g, b, disparity: no table from the host


def _check_render(rgb: Tensor, depth: Tensor) -> None:
    if rgb.ndim != 4 or rgb.shape[1] != 3 or depth.shape != (rgb.shape[0], *rgb.shape[2:]):
        raise ValueError(
            f"RGBD needs rgb of shape (b, 3, h, w) and depth of shape (b, h, w), got {tuple(rgb.shape)} and "
            f"{tuple(depth.shape)}. Colours come second, not last: rearrange(rgb, 'b h w c -> b c h w')."
        )
    if not depth.is_cpu:  # a look would make a GPU wait; ScoreLoss finds the NaN that such a depth becomes
        return
    if not torch.isfinite(depth.detach().sum()) and not torch.isfinite(depth).all():  # the sum is the cheap half
        where = int((~torch.isfinite(depth)).flatten(1).any(dim=1).int().argmax())
        raise ValueError(
            f"RGBD got a depth that is NaN or infinite, in patch {where} of {len(depth)}. "
            "Give rays that hit nothing a far depth before they become a patch."
        )


def _plain(value: Any) -> Any:
    """Tuples in place of JSON's lists, for comparison."""
    return tuple(value) if isinstance(value, list) else value
