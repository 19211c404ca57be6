"""Which pixels of the training photos a fit may use: those that count, random ones of them, and their depth."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from scorereg.scenes import Scene

__all__ = ["PhotoPixels", "training_depth", "training_masks"]


class PhotoPixels:
    """Random pixels of the training photos, uniformly among those that count.

    Args:
        photos: Photos of the training views, in [0, 1].
        masks: Their pixels that count; all, if None.
    """

    def __init__(self, photos: Float[Tensor, "n h w 3"], masks: Bool[Tensor, "n h w"] | None) -> None:
        self.photos, self.masks = photos, masks
        self._counting = None if masks is None else masks.flatten().nonzero()[:, 0]

    def draw(
        self, count: int, generator: torch.Generator
    ) -> tuple[Int[Tensor, " r"], Float[Tensor, "r 2"], Float[Tensor, "r 3"]]:
        """Draw pixels with replacement: view, position (x, y) of the center, and color."""
        index, row, column = self._places(count, generator)
        return index, torch.stack([column, row], -1) + 0.5, self.photos[index, row, column]

    def draw_triplets(
        self, count: int, reach: float, generator: torch.Generator
    ) -> tuple[Int[Tensor, " r"], Float[Tensor, "r 2"], Float[Tensor, "r 3"]]:
        """Draw triplets of pixels in a row, the middle one second: view, position and color of their pixels.

        The middle ones are as those of `draw`; the two others lie at one distance on either side, in any direction.
        Where one of these is beyond the border or does not count, all three are the middle one.

        Args:
            count: Number of triplets.
            reach: Largest distance, as a share of the photos' width; the smallest is a pixel.
            generator: Source of random numbers.
        """
        _, height, width, _ = self.photos.shape
        index, row, column = self._places(count, generator)
        angle, far = torch.rand(2, count, generator=generator, device=self.photos.device)
        far = 1 + far * max(reach * width - 1, 0)
        down, right = (far * (2 * torch.pi * angle).sin()).round().long(), (far * (2 * torch.pi * angle).cos()).round()
        step = torch.arange(-1, 2, device=self.photos.device)
        row, column = row[:, None] + down[:, None] * step, column[:, None] + right.long()[:, None] * step
        inside = ((row >= 0) & (row < height) & (column >= 0) & (column < width)).all(-1, keepdim=True)
        row, column = (torch.where(inside, x, x[:, 1:2]) for x in (row, column))
        if self.masks is not None:
            counts = self.masks[index[:, None], row, column].all(-1, keepdim=True)
            row, column = (torch.where(counts, x, x[:, 1:2]) for x in (row, column))
        index, row, column = index.repeat_interleave(3), row.flatten(), column.flatten()
        return index, torch.stack([column, row], -1) + 0.5, self.photos[index, row, column]

    def _places(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        n, height, width, _ = self.photos.shape
        among = n * height * width if self._counting is None else len(self._counting)
        flat = torch.randint(among, (count,), generator=generator, device=self.photos.device)
        flat = flat if self._counting is None else self._counting[flat]
        return flat // (height * width), flat // width % height, flat % width


def training_masks(scene: Scene) -> Bool[Tensor, "n h w"] | None:
    """Return the pixels of the training photos that count, None where all do.

    Raises:
        ValueError: If none of a photo counts.
    """
    if scene.masks is None:
        return None
    masks = scene.masks[list(scene.train)]
    empty = [scene.filenames[i] for i, mask in zip(scene.train, masks, strict=True) if not mask.any()]
    if len(empty) == len(masks):
        raise ValueError(
            f"{scene.name}: the masks leave no pixel of any training photo to fit. Are they the other way round, with "
            "the pixels that count black?"
        )
    if empty:
        raise ValueError(
            f"{scene.name}: the mask of {empty[0]} leaves no pixel to fit. Correct it, or train on other photos "
            "(`train_filenames`)."
        )
    return masks


def training_depth(scene: Scene) -> Float[Tensor, "n h w"] | None:
    """Return the measured depth of the training photos in metres, 0 where unknown or masked; None if there is none."""
    if scene.depth is None:
        return None
    depth = scene.depth[list(scene.train)]
    known = (depth > 0) & depth.isfinite()
    known = known if scene.masks is None else known & scene.masks[list(scene.train)]
    return torch.where(known, depth, 0.0)
