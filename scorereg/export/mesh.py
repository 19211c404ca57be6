"""A mesh of what a fit shows: marching cubes of fused depth, with its large parts kept and colors at its vertices."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from scorereg.export.frames import Frame
from scorereg.export.fusion import Volume, fuse, room_of
from scorereg.fit.pictures import as_bytes

__all__ = ["Mesh", "check_mesh_packages", "mesh_of", "surface_of"]

_TRUNCATION = 4.0  # voxels
_MOST = 400**3  # grid points


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles of a fit, in its coordinates.

    Args:
        vertices: In metres.
        faces: Rows of three vertices, counterclockwise from the side that was seen.
        normals: Unit normals of the vertices, towards the side that was seen.
        colors: Of the vertices, 8 bits.
    """

    vertices: Float[np.ndarray, "n 3"]
    faces: Int[np.ndarray, "f 3"]
    normals: Float[np.ndarray, "n 3"]
    colors: UInt8[np.ndarray, "n 3"]


def check_mesh_packages() -> None:
    """Check that marching cubes can be computed.

    Raises:
        ValueError: If scikit-image is missing.
    """
    if find_spec("skimage") is None:
        raise ValueError("a mesh needs scikit-image. Install it: pip install 'scorereg[export]'.")


def mesh_of(frames: Sequence[Frame], *, resolution: int = 256, voxel: float | None = None, least: float = 0.01) -> Mesh:
    """Return the mesh of views: their depth is fused, and marching cubes find the surface.

    Args:
        frames: The views.
        resolution: Grid points along the longest side of what they show.
        voxel: Distance of the grid points in metres, in place of it.
        least: Share of all triangles that a connected part has at least; smaller ones are left out.

    Raises:
        ValueError: If the mesh is empty, or the grid too fine.
    """
    low, high = room_of(frames)
    voxel = float((high - low).max()) / resolution if voxel is None else voxel
    points = float(((high - low) / voxel + 2).prod())
    if points > _MOST:
        side = float(((high - low).prod() / _MOST) ** (1 / 3))
        raise ValueError(
            f"a grid of {voxel:.3g} m has {points / 1e6:.0f} million points, of {_MOST / 1e6:.0f} at most. Give "
            f"--voxel {1.1 * side:.2g} or more."
        )
    volume = fuse(frames, low, high, voxel, truncation=_TRUNCATION * voxel)
    return _largest(surface_of(volume), least)


def surface_of(volume: Volume) -> Mesh:
    """Return the surface of a volume: where the distance is 0 among grid points that were seen.

    Raises:
        ValueError: If there is none.
    """
    from skimage.measure import marching_cubes

    distance, seen = volume.distance.numpy(), volume.weight > 0
    cells = torch.zeros_like(seen)  # a cell between grid points is known by its last one
    cells[1:, 1:, 1:] = torch.stack([_corner(seen, i) for i in range(8)]).all(0)
    low = -torch.nn.functional.max_pool3d(-volume.distance[None], 2, 1)[0]
    high = torch.nn.functional.max_pool3d(volume.distance[None], 2, 1)[0]
    if not ((low < 0) & (high > 0) & cells[1:, 1:, 1:]).any():
        raise ValueError("the mesh is empty: no surface was seen. Fit longer, or give other --cameras or --voxel.")
    vertices, faces, _, _ = marching_cubes(distance, 0.0, mask=cells.numpy(), gradient_direction="descent")
    place = torch.from_numpy(vertices.copy())
    shade = _interpolated(torch.cat([volume.color * volume.near, volume.near[None]]), place)
    colors = as_bytes(shade[:, :3] / shade[:, 3:].clamp_min(1e-6))
    vertices = (volume.low + volume.voxel * place).numpy()
    faces = faces.astype(np.int32)
    return Mesh(vertices, faces, _normals(vertices, faces), colors)


def _corner(grid: Bool[Tensor, "x y z"], number: int) -> Bool[Tensor, "a b c"]:
    """Values at one of the eight corners of all cells."""
    return grid[tuple(slice(1, None) if number >> axis & 1 else slice(-1) for axis in range(3))]


def _normals(vertices: Float[np.ndarray, "n 3"], faces: Int[np.ndarray, "f 3"]) -> Float[np.ndarray, "n 3"]:
    """Unit normals of vertices: those of their triangles, by area."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    across = np.cross(b - a, c - a)
    total = np.stack([np.bincount(faces.ravel(), np.repeat(across[:, i], 3), len(vertices)) for i in range(3)], 1)
    return (total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def _interpolated(grid: Float[Tensor, "c x y z"], place: Float[Tensor, "n 3"]) -> Float[Tensor, "n c"]:
    """Values at positions, counted in grid points."""
    size = torch.tensor(grid.shape[1:]) - 1
    unit = (2 * place / size - 1).flip(-1)  # grid_sample takes the last axis first
    sampled = torch.nn.functional.grid_sample(grid[None], unit[None, :, None, None], align_corners=True)
    return rearrange(sampled, "1 c n 1 1 -> n c")


def _largest(mesh: Mesh, least: float) -> Mesh:
    """The mesh without its small connected parts."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    count = len(mesh.vertices)
    ends = np.concatenate([mesh.faces[:, :2], mesh.faces[:, 1:]])
    edges = coo_matrix((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(count, count))
    _, part = connected_components(edges, directed=False)
    of_face = part[mesh.faces[:, 0]]
    sizes = np.bincount(of_face)
    large = sizes >= min(least * len(mesh.faces), sizes.max())
    faces = mesh.faces[large[of_face]]
    used = np.unique(faces)
    new = np.zeros(count, np.int32)
    new[used] = np.arange(len(used))
    return Mesh(mesh.vertices[used], new[faces], mesh.normals[used], mesh.colors[used])
