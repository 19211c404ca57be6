"""Reader of the vertices of a PLY file, text or binary."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["read_ply"]

_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_Element = tuple[str, int, list[tuple[str, str]]]  # name, count, fields


def read_ply(path: Path) -> Float[Tensor, "p 3"]:
    """Read x, y, z of the element `vertex`, in float64.

    Elements before it are skipped if they hold no lists, as common writers have it; so is all that follows.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If it cannot be read.
        ValueError: If the file is not such a PLY file, or shorter than its head says.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: the point file is missing; add it or drop its entry from transforms.json.")
    try:
        order, elements, body = _head(path.read_bytes())
        return torch.from_numpy(_vertices(order, elements, body))
    except (ValueError, KeyError, IndexError, OverflowError) as error:
        why = f"no {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{path}: not a readable PLY file with x, y, z ({why}); write the points again.") from error


def _vertices(order: str, elements: list[_Element], body: memoryview) -> Float[np.ndarray, "p 3"]:
    rows, start = body.tobytes().splitlines() if not order else [], 0
    for name, count, fields in elements:
        if name != "vertex" and any(kind == "list" for _, kind in fields):
            raise ValueError(f"lists of {name} before the vertices")
        if name == "vertex":
            return _columns(order, count, fields, body[start:], [row for row in rows if row.strip()][start:])
        start += count * (np.dtype([(name, order + kind) for name, kind in fields]).itemsize if order else 1)
    raise ValueError("no element `vertex`")


def _columns(
    order: str, count: int, fields: list[tuple[str, str]], body: memoryview, rows: list[bytes]
) -> Float[np.ndarray, "p 3"]:
    names = [name for name, _ in fields]
    if any(kind == "list" for _, kind in fields):
        raise ValueError("lists among the numbers of its vertices")
    if missing := [axis for axis in "xyz" if axis not in names]:
        raise ValueError(f"its vertices have no {', '.join(missing)}")
    if order:
        table = np.frombuffer(body, [(name, order + kind) for name, kind in fields], count)
        return np.stack([table[axis].astype(np.float64) for axis in "xyz"], 1)
    if len(rows) < count:
        raise ValueError(f"{len(rows)} of {count} vertices are there")
    places = [names.index(axis) for axis in "xyz"]
    words = (row.split() for row in rows[:count])
    return np.array([[float(row[place]) for place in places] for row in words], np.float64).reshape(count, 3)


def _head(data: bytes) -> tuple[str, list[_Element], memoryview]:
    head, end, _ = data[: 2**20].partition(b"end_header")
    if not end or not head.startswith(b"ply"):
        raise ValueError("no PLY head")
    lines = [line.split() for line in head.decode("ascii", "replace").splitlines() if line.strip()]
    order = _ORDERS[dict(line[:2] for line in lines if line[0] == "format")["format"]]
    elements: list[_Element] = []
    for line in lines:
        if line[0] == "element":
            elements.append((line[1], int(line[2]), []))
            if elements[-1][1] < 0:
                raise ValueError(f"{line[2]} of {line[1]}")
        elif line[0] == "property":
            kind = "list" if line[1] == "list" else _TYPES[line[1]]
            elements[-1][2].append((line[-1], kind))
    start = data.index(b"\n", len(head)) + 1
    return order, elements, memoryview(data)[start:]
