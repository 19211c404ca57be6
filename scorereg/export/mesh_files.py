"""Meshes as PLY, OBJ and GLB, in the coordinates of the scene's own files."""

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scorereg._io import write_beside
from scorereg.export.coordinates import to_file
from scorereg.export.mesh import Mesh
from scorereg.export.ply import write_ply
from scorereg.scenes import Scene

__all__ = ["MESHES", "check_mesh_file", "write_mesh"]

MESHES = (".ply", ".obj", ".glb")
_DIGITS = 8  # of OBJ


def check_mesh_file(path: Path) -> None:
    """Check that the kind of a mesh's file is known and can be written.

    Raises:
        ValueError: If not.
    """
    if path.suffix.lower() not in MESHES:
        raise ValueError(f"--mesh {path} must end with {', '.join(MESHES)}.")
    if path.suffix.lower() != ".ply" and find_spec("trimesh") is None:
        raise ValueError(
            f"--mesh {path} needs trimesh, which is not installed. Give a .ply, or install it: "
            "pip install 'scorereg[export]'."
        )


def write_mesh(mesh: Mesh, scene: Scene, path: Path) -> None:
    """Write a mesh with vertex normals and colors, by the ending of its name.

    Axes stay those of the scene: a GLB is not turned. GLB has single precision, so the offset of a scene that is far
    from its origin stands in the matrix of the mesh's node.

    Raises:
        OSError: If it cannot be written.
        ValueError: If the kind is unknown.
    """
    check_mesh_file(path)
    vertices = to_file(torch.from_numpy(mesh.vertices), scene).numpy()
    if path.suffix.lower() == ".ply":
        write_ply(path, vertices, normals=mesh.normals, colors=mesh.colors, faces=mesh.faces)
        return
    data = _glb(mesh, vertices, scene) if path.suffix.lower() == ".glb" else _obj(mesh, vertices)
    write_beside(path, lambda beside: beside.write_bytes(data))


def _obj(mesh: Mesh, vertices: np.ndarray) -> bytes:
    from trimesh.exchange.obj import export_obj  # pyright: ignore[reportMissingImports]

    text: Any = export_obj(_made(mesh, vertices), include_normals=True, include_texture=False, digits=_DIGITS)
    return str(text).encode()


def _glb(mesh: Mesh, vertices: np.ndarray, scene: Scene) -> bytes:
    import trimesh  # pyright: ignore[reportMissingImports]

    place = np.eye(4)
    place[:3, 3] = scene.offset
    if any(scene.offset):
        warnings.warn(
            "GLB holds single precision, so the scene's offset stands in the matrix of its node; programs that drop it "
            "show the mesh at the origin.",
            stacklevel=3,
        )
    world = trimesh.Scene()
    world.add_geometry(_made(mesh, vertices - np.array(scene.offset)), transform=place)
    data: Any = world.export(file_type="glb", include_normals=True)
    return bytes(data)


def _made(mesh: Mesh, vertices: np.ndarray) -> Any:
    import trimesh  # pyright: ignore[reportMissingImports]

    clear = np.full((len(mesh.colors), 1), 255, np.uint8)
    return trimesh.Trimesh(
        vertices, mesh.faces, vertex_normals=mesh.normals, vertex_colors=np.hstack([mesh.colors, clear]), process=False
    )
