"""Occupied and free space on a grid, from meshes, `.npy` and `.binvox`.

    solid     x y z    uint8, the occupied fraction of a voxel in steps of 1/255
    voxel     edge of a voxel, metres
    vertices  v 3      world coordinates, metres
    faces     f 3      triangles

The inside of a mesh is solid: a voxel is free if it can be reached, through faces of voxels that no triangle touches,
from given points or, without these, from outside. So closed furniture is filled, and all behind walls is solid.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from scorereg.files.arrays import read_npy
from scorereg.files.sniff import first_bytes

__all__ = ["Grid", "grid_of_mesh", "read_binvox", "read_grid", "touched"]

MOST_VOXELS = 400_000_000
FEWEST_VOXELS = 4  # along the longest side of a mesh


@dataclass(frozen=True)
class Grid:
    """Occupancy of a scene.

    Args:
        name: Name of the scene.
        solid: Occupied fraction of each voxel, 255 for all of it.
        voxel: Edge of a voxel, in metres.
        outside: Value beyond the grid, 0 or 255.
        known: Where the occupancy is known; everywhere if None. Unknown voxels are marked solid.
    """

    name: str
    solid: UInt8[np.ndarray, "x y z"]
    voxel: float
    outside: int = 0
    known: Bool[np.ndarray, "x y z"] | None = None


def grid_of_mesh(
    name: str,
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    voxel: float,
    *,
    inside: Float[np.ndarray, "n 3"] | None = None,
) -> Grid:
    """Voxelise a mesh on a grid around it, its inside filled.

    Args:
        name: Name of the scene.
        vertices: In metres.
        faces: Triangles; they need not be closed or consistently oriented.
        voxel: Edge of a voxel, in metres.
        inside: Points in free space, for a room seen from inside; without them, space is free that can be reached from
            outside.

    Raises:
        ValueError: If the grid would be too large or too small, or no point of `inside` is in free space.
    """
    from scipy import ndimage

    across = float((vertices.max(0) - vertices.min(0)).max())
    if across < FEWEST_VOXELS * voxel:
        raise ValueError(
            f"{name} is {across:.3g} m across, less than {FEWEST_VOXELS} voxels of {voxel:g} m. See that its unit is "
            "the metre, or give smaller voxels."
        )
    origin = vertices.min(0) - 2 * voxel
    shape = tuple(np.ceil((vertices.max(0) - origin) / voxel + 2).astype(int).tolist())
    _check_size(name, shape, voxel)
    shell = touched((vertices - origin) / voxel, faces, shape)
    parts = np.empty(shape, np.int32)
    count = int(ndimage.label(~shell, output=parts))  # pyright: ignore[reportArgumentType]
    if inside is None:
        free = parts == parts[0, 0, 0]  # the margin of two voxels, which no triangle touches
    else:
        at = np.floor((inside - origin) / voxel).astype(int)
        at = at[((at >= 0) & (at < shape)).all(-1)]
        reached = np.unique(parts[tuple(at.T)])
        reached = reached[(reached > 0) & (reached != parts[0, 0, 0])]
        if not len(reached):
            raise ValueError(f"{name}: none of the {len(inside)} points is in free space within its walls.")
        table = np.zeros(count + 1, bool)
        table[reached] = True
        free = table[parts]
    return Grid(name, np.where(free, 0, 255).astype(np.uint8), voxel, 0 if inside is None else 255)


def touched(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], shape: tuple[int, int, int]
) -> Bool[np.ndarray, "x y z"]:
    """Mark the voxels that triangles pass through, without gaps that a flood fill could leak through.

    Coordinates are in voxels. Each triangle is covered by a lattice of points at most half a voxel apart. If the line
    between the centres of two neighbouring voxels meets the triangle, a point of the lattice is within 0.29 voxels, so
    in one of the two.
    """
    out = np.zeros(shape, bool)
    corners = vertices[faces]
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=-1).max(-1)
    pieces = np.maximum(np.ceil(2 * longest).astype(int), 1)
    for count in np.unique(pieces):
        i, j = np.mgrid[0 : count + 1, 0 : count + 1]
        keep = i + j <= count
        share = np.stack([i[keep], j[keep], count - i[keep] - j[keep]], -1) / count  # [p, 3]
        group = corners[pieces == count]
        step = max(4_000_000 // len(share), 1)
        for start in range(0, len(group), step):
            points = np.einsum("pc,fcx->fpx", share, group[start : start + step]).reshape(-1, 3)
            out[tuple(np.floor(points).astype(int).T)] = True
    return out


def read_grid(path: Path, voxel: float) -> Grid:
    """Read a `.npy` with three axes, or a `.binvox`.

    A boolean or uint8 array is occupancy (0 free, 255 or True solid). A float array is density in 1 / m, with occupancy
    1 - exp(-density voxel). A file `NAME.sdf.npy` holds signed distances in metres, negative inside, with occupancy
    1 / 2 - distance / voxel, clipped to [0, 1].

    Args:
        path: The file.
        voxel: Edge of a voxel, in metres.

    Raises:
        OSError: If it cannot be read.
        ValueError: If its content is of another kind.
    """
    if path.suffix == ".binvox":
        return Grid(path.stem, np.where(read_binvox(path), 255, 0).astype(np.uint8), voxel)
    array = read_npy(path)
    if path.name.endswith(".sdf.npy"):
        if array.ndim != 3 or array.dtype.kind != "f" or not np.isfinite(array).all():
            raise ValueError(
                f"{path} must hold three axes of finite floats: signed distances in metres. Correct the file."
            )
        share = np.clip(0.5 - array.astype(np.float64) / voxel, 0, 1)
        return Grid(path.stem, np.rint(share * 255).astype(np.uint8), voxel)
    if array.ndim != 3 or array.dtype.kind not in "bfu" or (array.dtype.kind == "u" and array.dtype != np.uint8):
        raise ValueError(
            f"{path} holds {array.dtype} of shape {array.shape}; expected are three axes of bool or uint8 (occupancy) "
            "or of floats (density in 1 / m)."
        )
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or (array < 0).any():
            raise ValueError(
                f"{path} has densities that are negative or not finite. Correct the file, or, "
                "if these are signed distances in metres, call it NAME.sdf.npy."
            )
        array = np.rint(-np.expm1(-array.astype(np.float64) * voxel) * 255).astype(np.uint8)
    return Grid(path.stem, np.where(array, 255, 0).astype(np.uint8) if array.dtype == bool else array, voxel)


def read_binvox(path: Path) -> Bool[np.ndarray, "x y z"]:
    """Read a `.binvox` file (Min, 2004): a header, then run lengths, with y the fastest axis, then z, then x.

    Raises:
        ValueError: If it is not a binvox file.
    """
    first_bytes(path)
    head, found, body = path.read_bytes().partition(b"\ndata\n")
    sizes = [line.split()[1:] for line in head.splitlines() if line.startswith(b"dim")]
    known = len(sizes) == 1 and len(sizes[0]) == 3 and all(word.isdigit() and len(word) < 6 for word in sizes[0])
    if not head.startswith(b"#binvox") or not found or not known:
        raise ValueError(f"{path} is no binvox file: its header lacks #binvox, dim or data. Make it again.")
    x, z, y = (int(word) for word in sizes[0])
    runs = np.frombuffer(body[: len(body) // 2 * 2], np.uint8).reshape(-1, 2)
    count = int(runs[:, 1].sum(dtype=np.int64))  # before they are written out, as they can grow 128-fold
    if count != x * y * z or count > MOST_VOXELS:
        most = f" (at most {MOST_VOXELS} are read)" if count > MOST_VOXELS else ""
        raise ValueError(f"{path} has {count} voxels{most}, but its header promises {x * y * z}. Copy it again.")
    values = np.repeat(runs[:, 0], runs[:, 1])
    return values.reshape(x, z, y).transpose(0, 2, 1) > 0


def _check_size(name: str, shape: tuple[int, ...], voxel: float) -> None:
    if np.prod(shape, dtype=float) > MOST_VOXELS:
        raise ValueError(
            f"{name} would need {'x'.join(map(str, shape))} voxels of {voxel:g} m. Give larger voxels, or see that "
            "its unit is the metre."
        )
