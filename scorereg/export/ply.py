"""Points, meshes and tables as binary PLY, as Open3D, MeshLab, Blender and CloudCompare read it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from scorereg._io import write_beside

__all__ = ["write_ply", "write_table"]

_EXACT = 2**15  # coordinates from which on float32 keeps less than a hundredth of a unit


def write_ply(
    path: Path,
    points: Float[np.ndarray, "n 3"],
    *,
    normals: Float[np.ndarray, "n 3"],
    colors: UInt8[np.ndarray, "n 3"],
    faces: Int[np.ndarray, "f 3"] | None = None,
) -> None:
    """Write points with normals and colors, and the triangles between them, if there are any.

    x, y, z are float, and double where a coordinate is so large that float would round them to centimetres.

    Args:
        path: The file.
        points: Coordinates.
        normals: Unit normals, or 0.
        colors: 8 bits.
        faces: Rows of three numbers of points.

    Raises:
        OSError: If it cannot be written.
    """
    far = len(points) and float(np.abs(points).max()) > _EXACT
    kind, word = ("<f8", "double") if far else ("<f4", "float")
    names = [(axis, kind) for axis in "xyz"] + [(f"n{axis}", "<f4") for axis in "xyz"]
    names += [(color, "u1") for color in ("red", "green", "blue")]
    table = np.empty(len(points), np.dtype(names))
    for i, axis in enumerate("xyz"):
        table[axis], table[f"n{axis}"] = points[:, i], normals[:, i]
    for i, color in enumerate(("red", "green", "blue")):
        table[color] = colors[:, i]
    head = [f"element vertex {len(points)}", *(f"property {word} {axis}" for axis in "xyz")]
    head += [f"property float n{axis}" for axis in "xyz"]
    head += [f"property uchar {color}" for color in ("red", "green", "blue")]
    body = table.tobytes()
    if faces is not None:
        head += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
        rows = np.empty(len(faces), np.dtype([("count", "u1"), ("vertices", "<i4", 3)]))
        rows["count"], rows["vertices"] = 3, faces
        body += rows.tobytes()
    _write(path, head, body)


def write_table(path: Path, columns: Mapping[str, Float[np.ndarray, " n"]]) -> None:
    """Write points with any properties, float each, in the order of the columns.

    Raises:
        OSError: If it cannot be written.
    """
    rows = np.stack([column.astype("<f4") for column in columns.values()], 1)
    _write(path, [f"element vertex {len(rows)}", *(f"property float {name}" for name in columns)], rows.tobytes())


def _write(path: Path, head: Sequence[str], body: bytes) -> None:
    text = "\n".join(("ply", "format binary_little_endian 1.0", "comment scorereg", *head, "end_header")) + "\n"
    write_beside(path, lambda beside: beside.write_bytes(text.encode("ascii") + body))
