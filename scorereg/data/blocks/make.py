"""Blocks of voxels as training data, cut out of meshes, grids and fused depth maps: `scorereg make-blocks`.

A block's axes are the scene's x, y and z. Most blocks are cut at a random place near a surface, some anywhere in free
space, so that a prior learns empty space too. A voxel of the block is the mean of several voxels of the grid, so blocks
have several voxel sizes and smooth surfaces.
"""

import zlib
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from scorereg._progress import steps, told
from scorereg.data.arrays.write import check_new, write_arrays
from scorereg.data.blocks.sources import BlockSource, find_sources, load_grid
from scorereg.data.blocks.voxels import Grid
from scorereg.data.frames.split import held_out_names
from scorereg.transforms.density import Density

__all__ = ["BlockMix", "cut_blocks", "make_blocks"]

_AXES = {"x": 0, "y": 1, "z": 2}
_TRIES = 20
REACH = 4.0  # largest distance to a surface that is stored, in voxels of the block


@dataclass(frozen=True)
class BlockMix:
    """Size, places and content of blocks.

    Args:
        size: Voxels along an edge of a block.
        factors: Grid voxels along an edge of a block's voxel; each block draws one of these numbers.
        anywhere: Fraction of the blocks with their middle anywhere in free space, not near a surface.
        open: Free fraction below which a block is drawn again, four times in five: the inside of walls is all alike.
        known: Fraction of a block that must be known, where a grid is not known everywhere.
        kind: `"occupancy"`, the occupied fraction, or `"sdf"`, the distance to the surface, negative inside, in units
            of `REACH` voxels of the block, clipped to [-1, 1].
        up: Vertical axis, `"x"`, `"y"` or `"z"`: blocks are rotated about it at random; `"any"` rotates them in any of
            the 24 ways.
    """

    size: int = 32
    factors: tuple[int, ...] = (1, 2, 3)
    anywhere: float = 0.08
    open: float = 0.35
    known: float = 0.6
    kind: str = "occupancy"
    up: str = "y"


def cut_blocks(
    grid: Grid, count: int, generator: np.random.Generator, *, mix: BlockMix | None = None
) -> UInt8[np.ndarray, "n s s s"]:
    """Cut blocks of 8 bits a voxel, 0 to 255 standing for -1 to 1 in prior space.

    Args:
        grid: Space to cut from.
        count: Number of blocks; fewer are returned where too little is known.
        generator: Draws places, factors and rotations.
        mix: Size, places and content; the defaults of `BlockMix`, if not given.
    """
    mix = mix or BlockMix()
    surface = _surface(grid)
    if not len(surface):
        return np.empty((0, *[mix.size] * 3), np.uint8)
    blocks = []
    for _ in range(count):
        for _ in range(_TRIES):
            anywhere = generator.random() < mix.anywhere
            place = _free(grid, generator) if anywhere else surface[generator.integers(len(surface))]
            edge = mix.size * int(generator.choice(mix.factors))
            middle = place + generator.uniform(-0.35, 0.35, 3) * edge
            start = np.rint(middle - edge / 2).astype(int)
            solid = _piece(grid.solid, start, edge, grid.outside)
            closed = solid.mean() > 255 * (1 - mix.open) and generator.random() < 0.8
            if not closed and (grid.known is None or _piece(grid.known, start, edge, False).mean() >= mix.known):
                blocks.append(_rotated(_block(grid, solid, start, mix), mix, generator))
                break
    return np.stack(blocks) if blocks else np.empty((0, *[mix.size] * 3), np.uint8)


def make_blocks(
    data: list[Path],
    out: Path,
    *,
    count: int = 6000,
    seed: int = 0,
    voxel: tuple[float, float] = (0.02, 0.04),
    mix: BlockMix | None = None,
    licence: str = "",
    credits: tuple[str, ...] = (),
    show: bool = False,
) -> dict[str, int]:
    """Write a folder of arrays of blocks from meshes, grids and posed depth maps; one source in sixteen is held out.

    The blocks of a source depend on its name and the seed alone.

    Args:
        data: Files (meshes, `.npy`, `.binvox`), or folders of them, or of RGB-D frames with `transforms.json`.
        out: A new folder, or one without arrays.
        count: Number of blocks in all, spread evenly over the sources.
        seed: Seed of all random numbers.
        voxel: Smallest and largest edge of a grid's voxel, in metres; each source draws one. A grid in a file has the
            smallest.
        mix: Size, places and content of blocks; the defaults of `BlockMix`, if not given.
        licence: Licence of the data, for the cards of priors that are trained on it.
        credits: Names to be credited there.
        show: Show progress on standard error.

    Returns:
        The number of blocks of `"train"` and of `"held"`.

    Raises:
        OSError: If a file cannot be read or written.
        ValueError: If there is nothing to cut from, a file has the wrong content, or `out` holds arrays already.
    """
    mix = mix or BlockMix()
    _check(count, voxel, mix)
    sources = find_sources(data)
    held = _held(sources)
    check_new(out)
    each = -(-count // len(sources))
    parts: dict[str, list[np.ndarray]] = {"train": [], "held": []}
    with told() if show else nullcontext():
        for source in steps("cutting blocks, sources", sources):
            generator = np.random.default_rng((seed, zlib.crc32(source.name.encode())))
            size = float(np.exp(generator.uniform(*np.log(voxel))))
            grid = load_grid(source, size if source.kind in ("mesh", "depth") else voxel[0], mix.up, generator)
            parts["held" if source.name in held else "train"].append(cut_blocks(grid, each, generator, mix=mix))
    arrays = {name: np.concatenate(blocks)[:, None] for name, blocks in parts.items()}
    facts = {
        "channels": [mix.kind],
        "range": [-1.0, 1.0],
        "transform": _transform(mix, voxel),
        "data": f"blocks of {mix.size}^3 voxels of {voxel[0] * min(mix.factors):g} to "
        f"{voxel[1] * max(mix.factors):g} m from {len(sources)} sources",
        "mirror": [axis for name, axis in _AXES.items() if name != mix.up],
        "licence": licence,
        "credits": list(credits),
        "seed": seed,
        "held_out": sorted(held),
    }
    return write_arrays(out, arrays, facts)


def _check(count: int, voxel: tuple[float, float], mix: BlockMix) -> None:
    if count < 1 or not 0 < voxel[0] <= voxel[1] < float("inf"):
        raise ValueError(f"blocks need count >= 1 and 0 < smallest voxel <= largest; got {count} and {voxel}.")
    if mix.size < 1 or not mix.factors or min(mix.factors) < 1:
        raise ValueError(f"blocks need size >= 1 and factors >= 1; got {mix.size} and {mix.factors}.")
    if mix.up not in (*_AXES, "any") or mix.kind not in ("occupancy", "sdf"):
        raise ValueError(f"up must be x, y, z or any, and kind occupancy or sdf; got {mix.up!r} and {mix.kind!r}.")


def _transform(mix: BlockMix, voxel: tuple[float, float]) -> dict[str, Any]:
    if mix.kind == "occupancy":
        return Density(voxel[0] * min(mix.factors)).to_json()
    return {
        "kind": "sdf",
        "reach": REACH,
        "formula": "x = clip(distance / (reach * voxel), -1, 1), negative within; voxel is the distance of the points",
    }


def _held(sources: list[BlockSource]) -> set[str]:
    """Return the names of the sources that are held out."""
    if len(sources) < 2:
        raise ValueError(f"{sources[0].path} is all there is; at least two sources are needed, one to be held out.")
    return held_out_names(source.name for source in sources)


def _free(grid: Grid, generator: np.random.Generator) -> np.ndarray:
    """Return the index of a random free voxel; of any voxel, if 1000 tries find none."""
    place = np.zeros(3, int)
    for _ in range(1000):
        place = generator.integers(grid.solid.shape)
        if grid.solid[tuple(place)] < 128:
            break
    return place


def _surface(grid: Grid) -> np.ndarray:
    """Return indices [n, 3] of the free voxels with a known solid neighbour."""
    solid = grid.solid >= 128
    if grid.known is not None:
        solid &= grid.known
    near = np.zeros_like(solid)
    for axis in range(3):
        ahead, back = [slice(None)] * 3, [slice(None)] * 3
        ahead[axis], back[axis] = slice(1, None), slice(None, -1)
        near[tuple(ahead)] |= solid[tuple(back)]
        near[tuple(back)] |= solid[tuple(ahead)]
    return np.argwhere(near & (grid.solid < 128))


def _piece(array: np.ndarray, start: np.ndarray, edge: int, outside: int) -> np.ndarray:
    """Return a cube out of an array, with the value `outside` beyond it."""
    out = np.full((edge,) * 3, outside, array.dtype)
    low, high = np.maximum(start, 0), np.minimum(start + edge, array.shape)
    if (low < high).all():
        here = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
        out[here] = array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    return out


def _block(grid: Grid, solid: np.ndarray, start: np.ndarray, mix: BlockMix) -> np.ndarray:
    """Return the stored values of a piece of a grid; distances take surfaces just beyond the piece into account."""
    if mix.kind == "occupancy":
        return _pooled(solid, mix.size)
    from scipy import ndimage

    edge = len(solid)
    factor = edge // mix.size
    margin = int(np.ceil(REACH)) * factor
    solid = _piece(grid.solid, start - margin, edge + 2 * margin, grid.outside) >= 128
    inner = (slice(margin, -margin),) * 3
    if solid.all() or not solid.any():  # no surface
        distance = np.full((edge,) * 3, -np.inf if solid.all() else np.inf)
    else:  # half a voxel less, as the surface lies between two voxels
        outside, within = (np.asarray(ndimage.distance_transform_edt(side)) for side in (~solid, solid))
        distance = np.where(solid, 0.5 - within, outside - 0.5)[inner]
    cut = np.clip(distance / factor / REACH, -1, 1)
    return _pooled(np.rint((cut + 1) / 2 * 255).astype(np.uint8), mix.size)


def _pooled(piece: UInt8[np.ndarray, "e e e"], size: int) -> UInt8[np.ndarray, "s s s"]:
    k = len(piece) // size
    mean: Float[np.ndarray, "s s s"] = piece.reshape(size, k, size, k, size, k).mean((1, 3, 5), dtype=np.float32)
    return np.rint(mean).astype(np.uint8)


def _rotated(block: np.ndarray, mix: BlockMix, generator: np.random.Generator) -> np.ndarray:
    """Rotate a block by quarter turns about the vertical axis, or in any of the 24 ways."""
    flat = [axis for name, axis in _AXES.items() if name != mix.up]
    if mix.up == "any":
        block = block.transpose(generator.permutation(3))
        flat = [0, 1]
    return np.rot90(block, int(generator.integers(4)), (flat[0], flat[1]))
