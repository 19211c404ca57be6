"""What a prior says of a patch that a field shows: the patch, the denoised patch and the score, as one picture."""

from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from scorereg.cameras import Cameras
from scorereg.fit.pictures import apply_palette
from scorereg.priors.base import score
from scorereg.transforms import RGBD
from scorereg.viewer.camera import window_around

__all__ = ["PatchScore", "PriorLens"]

_ZOOM = 5  # pixels of the picture along the side of a patch's pixel
_GAP = 4
_GREY = 0.5
_SPAN = 0.1  # least range of disparity that is drawn from dark to bright


@dataclass(frozen=True, eq=False)
class PatchScore:
    """What a prior says of a patch.

    Args:
        picture: Two rows, colours and disparity; patch, denoised patch and score.
        words: The size of the score, in a sentence.
    """

    picture: Float[Tensor, "h w 3"]
    words: str


class PriorLens:
    """A prior over RGB-D patches, to look at a field through.

    Args:
        prior: The prior, with a card.

    Raises:
        ValueError: If it is none of square RGB-D patches with a known focal length.
    """

    def __init__(self, prior: Any) -> None:
        card = prior.card
        self.prior, self.card, self.transform = prior, card, RGBD.for_card(card)
        if len(card.size) != 2 or card.size[0] != card.size[1] or card.focal is None:
            raise ValueError(
                f"the prior {card.name!r} has no square patches of a known focal length, so it cannot look at a field. "
                "Give --prior rooms-rgbd-24, or --prior none."
            )
        self.size, self.focal = card.size[0], (card.focal[0] * card.focal[1]) ** 0.5
        self.sigmas = max(card.sigma_min, 0.005), min(card.sigma_max, 1.0)

    @torch.no_grad()
    def look(self, fit: Any, camera: Cameras, at: tuple[float, float], sigma: float) -> PatchScore:
        """Return the score of the patch around a place of a camera's picture.

        Args:
            fit: Renders the patch: a `Fit`.
            camera: The camera.
            at: The place, in shares of the picture's width and height.
            sigma: Noise level, in prior-space units.
        """
        window = window_around(camera, at, size=self.size, focal=self.focal)
        rgb, depth, _ = (x.cpu() for x in fit.image(window.image_rays(0).to(fit.scene.cameras.pose.device)))
        patch = self.transform(rearrange(rgb.clamp(0, 1), "h w c -> 1 c h w"), depth[None])
        pull = sigma**2 * score(self.prior, patch, torch.full((1,), sigma))  # D(x) - x
        size = pull.square().mean().sqrt().item() / sigma
        return PatchScore(_picture(patch[0], (patch + pull)[0], pull[0] / sigma), self._words(size, sigma))

    def _words(self, size: float, sigma: float) -> str:
        known = self.card.residual_quantiles
        words = f"RMS of (D - x) / sigma: {size:.2f} at sigma {sigma:.3g}."
        if not known or not known.get("sigma"):
            return words
        nearest = min(range(len(known["sigma"])), key=lambda i: abs(known["sigma"][i] - sigma))
        above = [level for level, value in zip(known["levels"], known["values"][nearest], strict=True) if size > value]
        share = f"more than in {max(above):.0%}" if above else f"less than in {1 - min(known['levels']):.0%}"
        return f"{words} That is {share} of clean patches."


def _picture(patch: Tensor, clean: Tensor, pull: Tensor) -> Float[Tensor, "h w 3"]:
    """Rows of colours and of disparity.

    Disparity is dark at the patch's farthest and bright at its nearest. In the score grey is 0, and a colour or red is
    where the prior wants more of that colour, or nearer.
    """
    low = min(patch[3].min().item(), clean[3].min().item())
    span = max(patch[3].max().item(), clean[3].max().item(), low + _SPAN) - low
    columns = []
    for each in (patch, clean):
        near = apply_palette((each[3] - low) / span, palette="magma")
        columns.append([(rearrange(each[:3], "c h w -> h w c") + 1) / 2, near])
    signed = _GREY + _GREY * rearrange(pull[:3], "c h w -> h w c")
    columns.append([signed, apply_palette(_GREY + _GREY * pull[3], palette="coolwarm")])
    rows = [[_zoomed(column[row]) for column in columns] for row in range(2)]
    return _joined([_joined(row, 1) for row in rows], 0)


def _zoomed(picture: Tensor) -> Tensor:
    return picture.clamp(0, 1).repeat_interleave(_ZOOM, 0).repeat_interleave(_ZOOM, 1)


def _joined(parts: list[Tensor], axis: int) -> Tensor:
    shape = list(parts[0].shape)
    shape[axis] = _GAP
    gap = torch.ones(shape)
    return torch.cat([piece for part in parts for piece in (part, gap)][:-1], axis)
