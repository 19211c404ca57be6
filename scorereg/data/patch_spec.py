"""What is cut out of frames: size, channels and focal lengths of a patch, and how training patches are varied."""

import dataclasses
import math
from dataclasses import dataclass

from scorereg.data.channels import channel_names

__all__ = ["PatchSpec"]

_SHARPEST = 4.0  # beyond, edges are mostly halos
_LARGEST_FACTOR = 2.0  # depth nearer than d_min / 2 is not kept when frames are read


@dataclass(frozen=True)
class PatchSpec:
    """Patches of frames, and their augmentation in training.

    Args:
        patch_size: Side of a patch, in pixels.
        channels: `"rgbd"`, `"rgb"`, `"d"`, names like `"rgb,nx,ny,nz"`, or a tuple of names.
        focal: Shortest and longest focal length that frames are reduced to, in pixels; None takes the longest that no
            frame has to be enlarged for.
        d_min: Depth at which disparity is 1, in metres.
        depth_range: Smallest and largest factor on a training patch's depth; at most 2.
        grain: Largest standard deviation of noise that is added to the colours of training patches, in prior-space
            units, in [0, 1); each patch draws its own from 0 on. Photos contain such noise, renders do not.
        sharpen: Largest amount of sharpening of the colours of training patches, in [0, 4]; each patch draws its own,
            from a quarter of it in the direction of softer.
        depth_factor: Multiplies the depth unit of folders of frames, where that is wrong.
        range: Values of black and white in plain images; all other data are in (-1, 1).

    Raises:
        ValueError: If one of them is out of range.
    """

    patch_size: int = 24
    channels: str | tuple[str, ...] = "rgbd"
    focal: tuple[float, float] | None = (80.0, 180.0)
    d_min: float = 0.5
    depth_range: tuple[float, float] = (0.6, 1.6)
    grain: float = 0.0
    sharpen: float = 0.0
    depth_factor: float = 1.0
    range: tuple[float, float] = (-1.0, 1.0)

    def __post_init__(self) -> None:
        if self.patch_size < 1:
            raise ValueError(f"patch must be at least 1, but is {self.patch_size}. Give --patch a number > 0.")
        for name, pair in (("focal", self.focal), ("depth_range", self.depth_range)):
            if pair is not None and not 0 < pair[0] <= pair[1] < math.inf:
                raise ValueError(f"{name} must be two numbers, 0 < low <= high, but is {pair[0]:g}, {pair[1]:g}.")
        for name, value in (("d_min", self.d_min), ("depth_factor", self.depth_factor)):
            if not 0 < value < math.inf:
                raise ValueError(f"{name} must be > 0, but is {value:g}.")
        if not 0 <= self.grain < 1:
            raise ValueError(f"grain must be at least 0 and below 1, but is {self.grain:g}.")
        if not 0 <= self.sharpen <= _SHARPEST:
            raise ValueError(f"sharpen must be from 0 to {_SHARPEST:g}, but is {self.sharpen:g}.")
        if self.depth_range[1] > _LARGEST_FACTOR:
            raise ValueError(
                f"depth_range may not exceed {_LARGEST_FACTOR:g}, but is {self.depth_range[1]:g}: nearer than "
                f"d_min / {_LARGEST_FACTOR:g} depth is not kept. Give a smaller upper factor."
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Channel names, in order."""
        return channel_names(self.channels)

    def with_focal(self, longest: float) -> "PatchSpec":
        """Return the same with a focal length where there is none: the longest that the data have, in pixels."""
        return self if self.focal else dataclasses.replace(self, focal=(longest, longest))
