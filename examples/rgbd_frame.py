"""One RGB-D frame for the examples, reduced to the focal length that the shipped prior knows, and larger pixels."""

from pathlib import Path
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from scorereg.data import PatchSpec
from scorereg.data.frames import find_frames, load_pyramid

__all__ = ["D_MIN", "FOCAL", "ROOM", "RGBDFrame", "enlarged", "read_frame"]

ROOM = Path(__file__).parent / "nerf_fewshot" / "room"
FOCAL = 120.0  # pixels; rooms-rgbd-24 was trained at 80 to 180
D_MIN = 0.5  # metres at which disparity is 1, as on the prior's card


class RGBDFrame(NamedTuple):
    """Colours in [0, 1], and `D_MIN` / planar depth in metres, 0 where nothing was measured."""

    rgb: Float[Tensor, "3 h w"]
    disparity: Float[Tensor, "h w"]


def read_frame(folder: Path = ROOM, index: int = 0, focal: float = FOCAL) -> RGBDFrame:
    """Read a frame of a folder with RGB-D frames, by area averages of colour and disparity.

    Args:
        folder: In any of the layouts that `scorereg train-prior` reads.
        index: Which frame of the folder, in the order of their names.
        focal: Focal length that the frame is reduced to, in pixels.

    Raises:
        ValueError: If the folder has no such frame.
    """
    frames = find_frames([folder])
    if not 0 <= index < len(frames):
        raise ValueError(f"{folder} has {len(frames)} frames, counted from 0; there is no frame {index}.")
    level = load_pyramid([frames[index]], PatchSpec(focal=(focal, focal), d_min=D_MIN), levels=1)
    h, w = int(level.height[0]), int(level.width[0])
    rgb = level.color.reshape(h, w, 3).permute(2, 0, 1).float() / 255
    disparity = level.disparity.reshape(h, w).clamp_min(0).float() / 16383
    return RGBDFrame(rgb, disparity.clamp(max=1))


def enlarged(image: Float[Tensor, "h w 3"], factor: int) -> Float[Tensor, "h2 w2 3"]:
    """Each pixel as a square of so many."""
    return image.repeat_interleave(factor, 0).repeat_interleave(factor, 1)
