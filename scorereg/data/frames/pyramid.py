"""Frames in memory, reduced to several focal lengths, and random patches out of them.

    focal       pixels; it sets the field of view of a patch
    disparity   d_min / depth, not yet limited to 1, so that depth can still be scaled
    level       a frame reduced to one focal length; all levels of all frames lie in one flat buffer

Reduction is by exact area averages, of colour over all pixels, of everything else over known ones.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from scorereg.data.channels import RGBD, further

__all__ = ["EXTRA_STEPS", "RAW_MAX", "STEPS", "Crops", "Pyramid"]

RAW_MAX = 2.0  # largest raw disparity that is kept: depth scaled by one half still reaches 1
STEPS = 16383  # stored steps per unit of raw disparity; -1 marks a pixel without depth
EXTRA_STEPS = 32767  # stored steps per unit of a further channel; -32768 marks an unknown pixel


@dataclass(frozen=True)
class Crops:
    """Random patches before augmentation.

    Args:
        color: In [0, 1]; zeros where colour was not read.
        disparity: Raw disparity, 0 where unknown.
        valid: Where disparity is known.
        extra: Further channels in [-1, 1], NaN where unknown; None where there are none.
        names: Names of the further channels.
    """

    color: Float[Tensor, "b 3 p p"]
    disparity: Float[Tensor, "b p p"]
    valid: Bool[Tensor, "b p p"]
    extra: Float[Tensor, "b k p p"] | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pyramid:
    """All levels of all frames, one after the other, row by row.

    Args:
        color: 8-bit colour of each pixel.
        disparity: Raw disparity of each pixel in steps of 1/16383, -1 where unknown.
        start: First pixel of each level.
        height: Rows of each level.
        width: Columns of each level.
        channels: Channels that are held; the others are blank.
        extra: Further channels in steps of 1/32767, -32768 where unknown.
    """

    color: Tensor
    disparity: Tensor
    start: Tensor
    height: Tensor
    width: Tensor
    channels: tuple[str, ...] = RGBD
    extra: Tensor | None = None

    @classmethod
    def joined(cls, parts: "list[Pyramid]") -> "Pyramid":
        """Return all levels of several pyramids of the same channels."""
        if len(parts) == 1:
            return parts[0]
        pixels = torch.tensor([0, *(len(part.disparity) for part in parts[:-1])]).cumsum(0)
        extras = [part.extra for part in parts if part.extra is not None]
        return cls(
            torch.cat([part.color for part in parts]),
            torch.cat([part.disparity for part in parts]),
            torch.cat([part.start + first for part, first in zip(parts, pixels, strict=True)]),
            torch.cat([part.height for part in parts]),
            torch.cat([part.width for part in parts]),
            parts[0].channels,
            torch.cat(extras) if extras else None,
        )

    def crop(self, count: int, size: int, generator: torch.Generator, *, flip: bool = True) -> Crops:
        """Draw patches of random level and position, each known in at least half of its pixels.

        Args:
            count: Number of patches.
            size: Side of a patch, in pixels.
            generator: Source of the randomness.
            flip: Mirror half of the patches.

        Raises:
            ValueError: If too few patches with depth are found.
        """
        kept: list[tuple[Tensor, Tensor]] = []
        found = 0
        for _ in range(50):
            index, mirror = self._pixels(count + count // 8 + 1, size, generator, flip=flip)
            good = self._known(index)
            kept.append((index[good], mirror[good]))
            found += int(good.sum())
            if found >= count:
                return self._crops(*(torch.cat(parts)[:count] for parts in zip(*kept, strict=True)))
        raise ValueError("hardly any patch has depth in half of its pixels. Leave out the frames with little depth.")

    def _pixels(self, count: int, size: int, generator: torch.Generator, *, flip: bool) -> tuple[Tensor, Tensor]:
        level = torch.randint(len(self.start), (count,), generator=generator)
        place = torch.rand(2, count, generator=generator, dtype=torch.float64)
        top = (place[0] * (self.height[level] - size + 1)).long()
        left = (place[1] * (self.width[level] - size + 1)).long()
        mirror = (torch.rand(count, generator=generator) < 0.5) & flip
        across = torch.arange(size).expand(count, size)
        across = torch.where(mirror[:, None], size - 1 - across, across) + left[:, None]
        down = torch.arange(size) + top[:, None]
        return (self.start[level, None] + down * self.width[level, None])[:, :, None] + across[:, None, :], mirror

    def _known(self, index: Tensor) -> Tensor:
        """Whether half of a patch's pixels are known, in every channel but colour."""
        good = torch.ones(len(index), dtype=torch.bool)
        if "disparity" in self.channels:
            good &= (self.disparity[index] >= 0).flatten(1).float().mean(1) >= 0.5
        if self.extra is not None:
            good &= (self.extra[index] > -EXTRA_STEPS - 1).all(-1).flatten(1).float().mean(1) >= 0.5
        return good

    def _crops(self, index: Tensor, mirror: Tensor) -> Crops:
        disparity = self.disparity[index]
        color = self.color[index].permute(0, 3, 1, 2).to(torch.float32) / 255
        near = disparity.clamp_min(0).to(torch.float32) / STEPS
        if self.extra is None:
            return Crops(color, near, disparity >= 0)
        stored = self.extra[index].permute(0, 3, 1, 2)
        extra = stored.to(torch.float32) / EXTRA_STEPS
        extra = torch.where(stored > -EXTRA_STEPS - 1, extra, torch.nan)
        names = further(self.channels)
        sign = torch.ones(len(index), len(names), 1, 1)
        if "nx" in names:  # the normals of a mirrored patch have the opposite x
            sign[mirror, names.index("nx")] = -1
        return Crops(color, near, disparity >= 0, extra * sign, names)
