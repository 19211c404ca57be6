"""Random damages of a file in a folder: of its bytes, and of the values of a JSON file."""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Damage", "damage_folder"]

_PIXELS = (".png", ".jpg", ".jpeg", ".npy", ".ply")
_VALUES = (
    None,
    "abc",
    "",
    -1,
    0,
    1e308,
    1e-308,
    float("nan"),
    float("inf"),
    True,
    [],
    {},
    [1, [2, [3]]],
    -7.5,
    10**400,
)


@dataclass(frozen=True)
class Damage:
    """What was done to which file.

    Args:
        file: Name relative to the folder.
        what: The damage in words.
        pixels: Whether the file's own values are pixels or points, which no reader can tell from others.
    """

    file: str
    what: str
    pixels: bool


def damage_folder(folder: Path, seed: int) -> Damage:
    """Damage one file of a folder, chosen and changed by a seed; half of the damages are of a JSON file's values."""
    draw = random.Random(seed)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    tables = [path for path in files if path.suffix == ".json"]
    if tables and draw.random() < 0.5:
        path = draw.choice(tables)
        what = _change_value(path, draw)
    else:
        path = draw.choice(files)
        what = _change_bytes(path, draw)
    return Damage(str(path.relative_to(folder)), what, path.suffix in _PIXELS)


def _change_bytes(path: Path, draw: random.Random) -> str:
    data = bytearray(path.read_bytes())
    at = draw.randrange(len(data))
    kind = draw.choice(
        ("flip a bit", "random bytes", "zeros", "cut off", "append", "empty", "remove", "replace", "move")
    )
    if kind == "flip a bit":
        data[at] ^= 1 << draw.randrange(8)
    elif kind in ("random bytes", "zeros"):
        count = min(64, len(data) - at)
        data[at : at + count] = draw.randbytes(count) if kind == "random bytes" else bytes(count)
    elif kind == "cut off":
        del data[at:]
    elif kind == "append":
        data += draw.randbytes(100)
    elif kind == "empty":
        data.clear()
    elif kind == "replace":
        data = bytearray(b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n")
    elif kind == "move":
        data = data[at:] + data[:at]
    if kind == "remove":
        path.unlink()
    else:
        path.write_bytes(data)
    return f"{kind} at byte {at}" if kind in ("flip a bit", "random bytes", "zeros", "cut off", "move") else kind


def _change_value(path: Path, draw: random.Random) -> str:
    table = json.loads(path.read_text(encoding="utf-8"))
    places = list(_places(table))
    holder, key = draw.choice(places)
    old = holder[key]
    kind = draw.choice(("other", "other", "scale", "drop", "rename", "text"))
    if kind == "scale" and isinstance(old, int | float) and not isinstance(old, bool):
        new: Any = old * draw.choice((1000, 0.001, -1))
    elif kind == "drop" or (kind == "rename" and isinstance(holder, list)):
        del holder[key]
        path.write_text(json.dumps(table), encoding="utf-8")
        return f"drop {key!r}"
    elif kind == "rename":
        holder[f"{key}_old"] = holder.pop(key)
        path.write_text(json.dumps(table), encoding="utf-8")
        return f"rename {key!r}"
    elif kind == "text":
        new = str(old)
    else:
        new = draw.choice(_VALUES)
    holder[key] = new
    path.write_text(json.dumps(table), encoding="utf-8")
    return f"{key!r} becomes {str(new)[:20]!r}"


def _places(value: Any) -> Any:
    """Every list or object with an index of it, at any depth."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])
