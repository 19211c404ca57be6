"""Weights along rays as training data, from depth maps: `scorereg make-rays`.

A ray of a renderer has a footprint. Sixteen sub-rays are drawn around a pixel, normally distributed in the image plane,
and each meets the surface that the depth map has at its pixel: a single surface inside objects, several at silhouettes.
The weight around each surface follows a distribution of `Spread`. Some rays meet nothing, some continue behind a
translucent surface, and depth is scaled at random, as the estimated scale of a scene has an error.
"""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from scorereg._progress import steps
from scorereg.data.arrays.write import check_new, write_arrays
from scorereg.data.bad_frames import BadFrames, ReadOptions
from scorereg.data.channels import DEPTH
from scorereg.data.frames.depth_unit import DepthRange
from scorereg.data.frames.discover import find_frames
from scorereg.data.frames.frame import Frame
from scorereg.data.frames.read import read_frame
from scorereg.data.frames.split import split_scenes
from scorereg.data.rays.spread import bin_surfaces, draw_spread
from scorereg.data.source import seeded
from scorereg.transforms.ray_weights import RayWeights

__all__ = ["RayMix", "make_rays", "rays_of_depth"]

SUB_RAYS = 16
_JUMP = 1.05  # ratio of neighbouring depths above which a pixel is at a silhouette


@dataclass(frozen=True)
class RayMix:
    """Frequencies of kinds of rays, and ranges of random numbers.

    Args:
        silhouette: Fraction of rays through pixels where the depth jumps.
        empty: Fraction of rays that meet nothing.
        translucent: Fraction of rays whose first surface transmits some light.
        open: Fraction of rays without background, of those that meet several surfaces: silhouettes before the sky.
        footprint: Smallest and largest radius (standard deviation) of a footprint, in pixels of the depth map.
        scale: Smallest and largest factor on a ray's depth.
    """

    silhouette: float = 0.4
    empty: float = 0.04
    translucent: float = 0.08
    open: float = 0.1
    footprint: tuple[float, float] = (0.3, 4.0)
    scale: tuple[float, float] = (0.35, 1.6)


def rays_of_depth(
    depth: Float[Tensor, "h w"],
    count: int,
    edges: Float[Tensor, " k"],
    generator: torch.Generator,
    *,
    mix: RayMix | None = None,
) -> Float[Tensor, "{count} k-1"]:
    """Draw rays through a depth map and return their weights in bins; the sum of a ray, its opacity, is at most 1.

    Args:
        depth: Planar depth in metres, 0 where unknown; at least one pixel is known.
        count: Number of rays.
        edges: Planar depths of the bin edges, in metres, increasing.
        generator: Source of the randomness.
        mix: Frequencies of kinds of rays; the defaults of `RayMix`, if not given.
    """
    mix = mix or RayMix()
    surfaces, known = _footprints(depth, _aim(depth, count, mix.silhouette, generator), mix.footprint, generator)
    shares = known / known.sum(-1, keepdim=True)
    surfaces = surfaces * _between(mix.scale, count, generator)[:, None]
    nearest = torch.where(known > 0, surfaces, torch.inf).amin(-1, keepdim=True)
    background = surfaces > 1.15 * nearest
    shares = torch.where(_chance(mix.open, count, generator)[:, None] & background, 0, shares)
    shares = torch.where(_chance(mix.empty, count, generator)[:, None], 0, shares)
    surfaces, shares = _see_through(surfaces, shares, mix.translucent, generator)
    return bin_surfaces(surfaces, shares, draw_spread(count, generator), edges)


def make_rays(
    data: list[Path],
    out: Path,
    *,
    count: int = 40_000,
    seed: int = 0,
    transform: RayWeights | None = None,
    mix: RayMix | None = None,
    licence: str = "",
    credits: tuple[str, ...] = (),
    reading: ReadOptions | None = None,
) -> dict[str, int]:
    """Write a folder of arrays of ray weights from RGB-D frames; one scene in sixteen is held out.

    The rays of a frame depend on the scene's name, the frame's number in it and the seed alone.

    Args:
        data: Folders with RGB-D frames, or folders of such folders.
        out: A new folder, or one without arrays.
        count: Number of rays in all, spread evenly over the frames.
        seed: Seed of all random numbers.
        transform: Bins, and the map of their weights to prior space; the defaults of `RayWeights`, if not given.
        mix: Frequencies of kinds of rays; the defaults of `RayMix`, if not given.
        licence: Licence of the data, for the cards of priors that are trained on it.
        credits: Names to be credited there.
        reading: Which frames may be left out, with a warning for each; none, if not given.

    Returns:
        The number of rays of `"train"` and of `"held"`.

    Raises:
        OSError: If a file cannot be read or written.
        ValueError: If there are no frames, too few, their depth cannot be in metres, or `out` holds arrays already.
    """
    transform = transform or RayWeights()
    if count < 1:
        raise ValueError(f"count must be at least 1, but is {count}.")
    bad, ranges = BadFrames(reading or ReadOptions()), DepthRange()
    frames = find_frames(data, channels=("disparity",), bad=bad)
    total = len(frames) + len(bad.messages)
    train, held, held_names = split_scenes(frames)
    check_new(out)
    each = -(-count // len(frames))
    parts = (("train", train), ("held", held))
    arrays = {name: _all(some, each, seed, transform, mix, bad, ranges) for name, some in parts}
    ranges.check()
    bad.report(total)
    facts = {
        "channels": ["weight"],
        "range": [-1.0, 1.0],
        "transform": transform.to_json(),
        "data": f"weights along rays of {total - len(bad.messages)} depth maps, {each} of each",
        "licence": licence,
        "credits": list(credits),
        "seed": seed,
        "held_out": list(held_names),
    }
    return write_arrays(out, arrays, facts)


def _all(
    frames: list[Frame],
    each: int,
    seed: int,
    transform: RayWeights,
    mix: RayMix | None,
    bad: BadFrames,
    ranges: DepthRange,
) -> np.ndarray:
    numbers: dict[str, int] = {}
    parts = []
    for frame in steps("rays of frames", frames):
        number = numbers[frame.scene] = numbers.get(frame.scene, -1) + 1
        generator = seeded(seed, zlib.crc32(frame.scene.encode()), number)
        try:
            metres = read_frame(frame, (DEPTH,)).metres
        except (OSError, ValueError) as error:
            bad.add(error)
            continue
        assert metres is not None, "find_frames returns frames with depth only"
        ranges.add(frame.scene, metres)
        depth = torch.from_numpy(np.nan_to_num(metres, nan=0.0))
        weights = rays_of_depth(depth, each, transform.edges, generator, mix=mix)
        parts.append(transform.encode(weights)[:, None].numpy().astype(np.float16))
    if not parts:
        return np.zeros((0, 1, transform.bins), np.float16)
    return np.concatenate(parts)


def _aim(depth: Tensor, count: int, silhouette: float, generator: torch.Generator) -> Tensor:
    """Return flat indices of the pixels that rays go through: known ones, some of them where the depth jumps."""
    known = depth > 0
    logs = torch.where(known, depth, 1).log()
    jump = torch.zeros_like(known)
    step = np.log(_JUMP)
    jump[:, 1:] |= ((logs[:, 1:] - logs[:, :-1]).abs() > step) & known[:, 1:] & known[:, :-1]
    jump[1:] |= ((logs[1:] - logs[:-1]).abs() > step) & known[1:] & known[:-1]
    anywhere, jumps = known.flatten().nonzero()[:, 0], jump.flatten().nonzero()[:, 0]
    pixels = anywhere[torch.randint(len(anywhere), (count,), generator=generator)]
    if not len(jumps):
        return pixels
    aimed = jumps[torch.randint(len(jumps), (count,), generator=generator)]
    return torch.where(_chance(silhouette, count, generator), aimed, pixels)


def _footprints(
    depth: Tensor, pixels: Tensor, radii: tuple[float, float], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return depths [n, s] that sub-rays meet, and 1 where they are known, else 0; the first is the pixel's own."""
    height, width = depth.shape
    count = len(pixels)
    offset = torch.randn(2, count, SUB_RAYS, generator=generator) * _between(radii, count, generator)[:, None]
    offset[:, :, 0] = 0
    row = (pixels[:, None] // width + offset[0].round().long()).clamp(0, height - 1)
    column = (pixels[:, None] % width + offset[1].round().long()).clamp(0, width - 1)
    met = depth[row, column]
    return torch.where(met > 0, met, 1), (met > 0).to(depth)


def _see_through(surfaces: Tensor, shares: Tensor, chance: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Let some rays pass in part; the rest of their weight lies at a second surface, or nowhere."""
    count = len(surfaces)
    stopped = torch.where(_chance(chance, count, generator), 0.3 + 0.7 * torch.rand(count, generator=generator), 1)
    goes_on = _chance(0.7, count, generator).to(shares)
    behind = surfaces * _between((1.1, 2.5), count, generator)[:, None]
    rest = (1 - stopped) * goes_on
    return torch.cat([surfaces, behind], 1), torch.cat([shares * stopped[:, None], shares * rest[:, None]], 1)


def _between(limits: tuple[float, float], count: int, generator: torch.Generator) -> Tensor:
    """Draw log-uniform numbers."""
    low, high = np.log(limits[0]), np.log(limits[1])
    return (low + (high - low) * torch.rand(count, generator=generator)).exp()


def _chance(share: float, count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator) < share
