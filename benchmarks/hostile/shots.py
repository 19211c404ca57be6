"""Cameras of strangers, to render from: poses that cannot be, sizes without measure, names that lead away."""

from typing import Any

from benchmarks.hostile.case import Cases, Place, edit_json, put

__all__ = ["CASES"]

CASES = Cases("cameras")
_BASE, _FILE = "shot_run", "mine.json"
_NAN, _TALL = float("nan"), 1e308


def _pose(**changes: float) -> list[list[float]]:
    """A pose with some entries, named by row and column, changed."""
    rows = [[float(i == j) for j in range(4)] for i in range(4)]
    for place, value in changes.items():
        rows[int(place[1])][int(place[2])] = value
    return rows


_FRAMES: dict[str, dict[str, Any]] = {
    "a pose of NaN": {"transform_matrix": _pose(_00=_NAN)},
    "a pose of 1e308": {"transform_matrix": _pose(_03=_TALL)},
    "a pose that is a scale": {"transform_matrix": _pose(_00=5.0, _11=5.0, _22=5.0)},
    "a pose that is a mirror": {"transform_matrix": _pose(_00=-1.0)},
    "a pose of zeros": {"transform_matrix": _pose(_00=0.0, _11=0.0, _22=0.0)},
    "a pose of text": {"transform_matrix": "x"},
    "a pose of three columns": {"transform_matrix": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]},
    "a pose that is turned round": {"transform_matrix": _pose(_30=7.0)},
    "no pose": {"transform_matrix": None},
    "10^9 pixels a side": {"w": 10**9, "h": 10**9, "fl_x": 10},
    "-3 pixels": {"w": -3, "h": 4, "fl_x": 10},
    "a width of text": {"w": "64", "h": 4, "fl_x": 10},
    "a width that is true": {"w": True, "h": 4, "fl_x": 10},
    "a focal length of NaN": {"w": 8, "h": 8, "fl_x": _NAN},
    "a focal length of 0": {"w": 8, "h": 8, "fl_x": 0},
    "a focal length of 1e308": {"w": 8, "h": 8, "fl_x": _TALL},
    "a centre of 1e300": {"w": 8, "h": 8, "fl_x": 5, "cx": 1e300, "cy": 4},
    "a distortion of NaN": {"w": 8, "h": 8, "fl_x": 5, "k1": _NAN},
    "a model with an escape sequence": {"w": 8, "h": 8, "fl_x": 5, "camera_model": "\x1b[2J"},
    "a name above the folder": {"file_path": "../../../outside/0000.png"},
    "a name that is absolute": {"file_path": "/etc/0000.png"},
    "a name with an escape sequence": {"file_path": "\x1b[2J.png"},
    "a name with a line break": {"file_path": "a\nscorereg: all is well.png"},
    "a name with a NUL": {"file_path": "a\0b.png"},
    "a name of half a letter": {"file_path": "\ud800.png"},
    "a name turned round": {"file_path": "\u202egnp.0"},
    "a name of 10^6 letters": {"file_path": "x" * 10**6},
    "a name that is a number": {"file_path": 7},
}
CASES.each(
    "shots", _BASE, {f"a camera with {name}": change for name, change in _FRAMES.items()},
    lambda place, change: edit_json(place.input / _FILE, lambda table: table["frames"][0].update(change)),
)  # fmt: skip

_TABLES: dict[str, Any] = {
    "no frames": lambda table: {},
    "frames that are null": lambda table: {"frames": None},
    "frames that are numbers": lambda table: {"frames": [1, 2]},
    "a list": lambda table: [],
    "a path of a viewer": lambda table: {"camera_path": []},
}
CASES.each("shots", _BASE, {f"cameras of {name}": change for name, change in _TABLES.items()},
           lambda place, change: edit_json(place.input / _FILE, change))  # fmt: skip

_TEXTS: dict[str, bytes] = {
    "that are nothing": b"",
    "nested 100,000 deep": b'{"frames": ' + b"[" * 100_000,
    "with a key twice": b'{"frames": [], "frames": [{"transform_matrix": 1}]}',
    "that are bytes": b"\xff\xfe\x00\xd8" * 40,
}
CASES.each("shots", _BASE, {f"cameras {name}": text for name, text in _TEXTS.items()},
           lambda place, text: put(place.input / _FILE, text))  # fmt: skip


def _at(place: Place, target: str) -> None:
    (place.input / _FILE).unlink()
    (place.input / _FILE).symlink_to(target)


CASES.each("shots", _BASE, {"cameras that are a device": "/dev/zero", "cameras that are the passwords": "/etc/passwd"},
           _at)  # fmt: skip
