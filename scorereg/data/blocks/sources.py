"""Sources of blocks: meshes, grids and posed depth maps, each loaded as a `Grid`.

    mesh     .ply .obj .stl .off .glb .gltf, in metres, read by trimesh
    grid     .npy, .binvox
    depth    a folder with `transforms.json` that names depth maps

A mesh beside a `transforms.json` is a room seen from inside: the cameras are points in free space, and the mesh is used
in place of the depth maps.
"""
# pyright: reportMissingImports=false

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from scorereg._io import read_json
from scorereg.data.blocks.fusion import fuse_depth, read_views
from scorereg.data.blocks.voxels import Grid, grid_of_mesh, read_grid
from scorereg.files.layouts.transforms import has_transforms
from scorereg.files.names import real_path
from scorereg.files.sniff import first_bytes
from scorereg.files.walk import walk

__all__ = ["BlockSource", "find_sources", "load_grid"]

_MESHES = (".ply", ".obj", ".stl", ".off", ".glb", ".gltf")
_GRIDS = (".npy", ".binvox")


@dataclass(frozen=True)
class BlockSource:
    """A mesh, a grid or a folder of depth maps.

    Args:
        name: Name of folder and file, by which it is held out or not.
        path: The file, or the folder of depth maps.
        kind: Which of the three.
    """

    name: str
    path: Path
    kind: Literal["mesh", "grid", "depth"]


def find_sources(data: list[Path]) -> list[BlockSource]:
    """Return all sources at or below some paths, in order of their names.

    Raises:
        FileNotFoundError: If a path does not exist.
        ValueError: If there is no source at one.
    """
    sources = []
    for path in data:
        if not path.exists():
            raise FileNotFoundError(f"{path} is not there. Name meshes, .npy, .binvox, or folders of them or of depth.")
        found = _below(path) if path.is_dir() else [s for s in [_source(path)] if s]
        if not found:
            raise ValueError(
                f"{path} holds nothing to cut blocks from. Expected: meshes ({', '.join(_MESHES)}), .npy, .binvox, or "
                "folders with transforms.json that names depth maps."
            )
        sources += found
    return sources


def load_grid(source: BlockSource, voxel: float, up: str, generator: np.random.Generator) -> Grid:
    """Load a source as a grid; half of the meshes are rotated about the vertical axis by a random angle.

    Args:
        source: The source.
        voxel: Edge of a voxel, in metres.
        up: Vertical axis, `"x"`, `"y"` or `"z"`; else nothing is rotated.
        generator: Draws rotations.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If its content is not of the kind that its name says.
    """
    if source.kind == "depth":
        return fuse_depth(source.name, read_views(source.path), voxel)
    if source.kind == "grid":
        return read_grid(source.path, voxel)
    vertices, faces = _read_mesh(source.path)
    turn = _turn(generator.uniform(0, 2 * np.pi) if generator.random() < 0.5 else 0.0, "xyz".find(up))
    beside = source.path.parent / "transforms.json"
    inside = _cameras(beside) @ turn.T if beside.is_file() else None
    return grid_of_mesh(source.name, vertices @ turn.T, faces, voxel, inside=inside)


def _source(path: Path) -> BlockSource | None:
    kind = "mesh" if path.suffix.lower() in _MESHES else "grid" if path.suffix.lower() in _GRIDS else None
    return kind and BlockSource(f"{real_path(path).parent.name}/{path.name}", path, kind)


def _below(root: Path) -> list[BlockSource]:
    sources = []
    for folder, _, files in walk(root):
        found = [s for s in (_source(folder / name) for name in files) if s]
        if not found and has_transforms(folder):
            found = [BlockSource(f"{folder.resolve().parent.name}/{folder.resolve().name}", folder, "depth")]
        sources += found
    return sources


def _read_mesh(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        import trimesh
    except ImportError:
        raise ValueError(
            f"{path} is read by trimesh, which is not installed: pip install 'scorereg[voxels]'."
        ) from None
    first_bytes(path)
    try:
        mesh = trimesh.load_mesh(path, process=False)
    except Exception as error:  # the readers of a dozen formats raise anything
        raise ValueError(f"{path} cannot be read as a mesh ({error}). Restore it or leave it out.") from None
    vertices, faces = np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64)
    if not len(faces) or not np.isfinite(vertices).all():
        raise ValueError(f"{path} has no triangles, or vertices that are not finite. Leave it out.")
    if path.suffix.lower() == ".off" and len(faces) < (promised := _faces_of_off(path)):
        raise ValueError(f"{path} has {len(faces)} triangles, but its head promises {promised} faces. Copy it again.")
    return vertices, faces


def _faces_of_off(path: Path) -> int:
    """The number of faces in the head of an .off file, which trimesh does not compare with what follows."""
    lines = first_bytes(path, 4096).splitlines()
    words = [word for line in lines for word in line.partition(b"#")[0].split()]
    start = 1 if words and words[0].upper() == b"OFF" else 0
    return int(words[start + 1]) if len(words) > start + 1 and words[start + 1].isdigit() else 0


def _cameras(path: Path) -> np.ndarray:
    try:
        frames = read_json(path, "Correct or remove the file.")["frames"]
        return np.array([frame["transform_matrix"] for frame in frames], np.float64)[:, :3, 3]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ValueError(f"{path} has no poses that can be read ({error!r}). Correct or remove the file.") from None


def _turn(angle: float, axis: int) -> np.ndarray:
    """Return the rotation matrix about an axis; the identity for axis -1."""
    turn = np.eye(3)
    if axis >= 0:
        a, b = (axis + 1) % 3, (axis + 2) % 3
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
    return turn
