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


def read_ply(path: Path) -> Float[Tensor, "p 3"]:
    """Read x, y, z of the element `vertex`, which must be the first element, as common writers have it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not such a PLY file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: the point file is missing; add it or drop its entry from transforms.json.")
    try:
        order, count, fields, body = _head(path.read_bytes())
        if order:
            table = np.frombuffer(body, [(name, order + kind) for name, kind in fields], count)
            columns = [table[axis] for axis in "xyz"]
        else:
            numbers = np.array(body.split()[: count * len(fields)], np.float64).reshape(count, len(fields))
            columns = [numbers[:, [name for name, _ in fields].index(axis)] for axis in "xyz"]
    except (ValueError, KeyError, IndexError) as error:
        raise ValueError(f"{path}: not a readable PLY file with x, y, z; write the points again.") from error
    return torch.from_numpy(np.stack(columns, 1).astype(np.float32))


def _head(data: bytes) -> tuple[str, int, list[tuple[str, str]], bytes]:
    head, end, body = data.partition(b"end_header")
    lines = [line.split() for line in head.decode("ascii").splitlines() if line.strip()]
    if not end or lines[0] != ["ply"]:
        raise ValueError("no PLY head")
    order = _ORDERS[dict(line[:2] for line in lines if line[0] == "format")["format"]]
    elements = [i for i, line in enumerate(lines) if line[0] == "element"]
    first = lines[elements[0]]
    if first[1] != "vertex":
        raise ValueError("the first element is not `vertex`")
    last = elements[1] if len(elements) > 1 else len(lines)
    fields = [(line[2], _TYPES[line[1]]) for line in lines[elements[0] + 1 : last] if line[0] == "property"]
    return order, int(first[2]), fields, body.partition(b"\n")[2]
