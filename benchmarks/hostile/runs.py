"""Runs of strangers: cards that lie, weights of another place, numbers that cannot be, photos that lead away."""

import struct
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from benchmarks.hostile.case import Cases, Place, edit_json, put
from benchmarks.hostile.pickles import payload

__all__ = ["CASES"]

CASES = Cases("runs")
_BASE, _CARD, _WEIGHTS = "fit_run", "fit.json", "weights.safetensors"


def _at(*keys: Any, value: Any) -> Any:
    """A change of one entry of the card, by its place."""

    def change(card: Any) -> None:
        for key in keys[:-1]:
            card = card[key]
        card[keys[-1]] = value

    return change


_FIRST = ("scene", "cameras", 0)
_CHANGES: dict[str, Any] = {
    "another format": _at("format", value=2),
    "a format of text": _at("format", value="1"),
    "a kind of another program": _at("kind", value="other"),
    "weights above the folder": _at("weights", "file", value="../../outside/weights.safetensors"),
    "weights at /dev/zero": _at("weights", "file", value="/dev/zero"),
    "another checksum": _at("weights", "sha256", value="0" * 64),
    "no weights entry": lambda card: card.pop("weights") and None,
    "no scene": lambda card: card.pop("scene") and None,
    "no recipe": lambda card: card.pop("recipe") and None,
    "a scene that is a list": _at("scene", value=[]),
    "near beyond far": _at("scene", "near", value=1e9),
    "a near of 0": _at("scene", "near", value=0.0),
    "a far of 1e400": _at("scene", "far", value=float("inf")),
    "a width of 10^9": _at("scene", "width", value=10**9),
    "a width of text": _at("scene", "width", value="640"),
    "a height of -1": _at("scene", "height", value=-1),
    "no cameras": _at("scene", "cameras", value=[]),
    "a pose of two rows": _at(*_FIRST, "pose", value=[[1, 0, 0, 0], [0, 1, 0, 0]]),
    "a pose of NaN": _at(*_FIRST, "pose", value=[[float("nan")] * 4] * 3),
    "a pose that is no rotation": _at(*_FIRST, "pose", value=[[5, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]),
    "a focal length of 0": _at(*_FIRST, "focal", value=[0.0, 0.0]),
    "a focal length of 1e308": _at(*_FIRST, "focal", value=[1e308, 1e308]),
    "a split of another name": _at(*_FIRST, "split", value="secret"),
    "a photo above the folder": _at(*_FIRST, "photo", value="../../../outside/0.png"),
    "a photo with an escape sequence": _at(*_FIRST, "photo", value="\x1b[2J.png"),
    "a scale of 0": _at("scene", "scale", value=0.0),
    "an offset of two numbers": _at("scene", "offset", value=[0.0, 1.0]),
    "samples of 10^9": _at("recipe", "samples", value=10**9),
    "samples of 0": _at("recipe", "samples", value=0),
    "samples of text": _at("recipe", "samples", value="many"),
    "a field of another class": _at("field", "class", value="os.system"),
    "a table of 2^40 rows": lambda card: _grow(card["field"]),
    "terms of text": _at("terms", value="all"),
    "a seed of 2^80": _at("seed", value=2**80),
    "seconds of NaN": _at("seconds", value=float("nan")),
    "another near": lambda card: card["scene"].update(near=1.5 * card["scene"]["near"]),
    "other samples": _at("recipe", "samples", value=7),
    "another background": _at("recipe", "background", value=0.3),
    "another interpolation": _at("field", "shape", "interpolation", value="smoothstep"),
    "another focal length": _at("scene", "cameras", 3, "focal", value=[20.0, 20.0]),
    "a photo's name of half a letter": _at(*_FIRST, "photo", value="\ud800.png"),
    "another scene's folder": _at("scene", "path", value="/etc"),
}


def _grow(field: Any) -> None:
    """Make every size of a field enormous."""
    for key, value in field.items():
        if isinstance(value, dict):
            _grow(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            field[key] = 2**40


CASES.each("render", _BASE, {f"fit.json of {name}": change for name, change in _CHANGES.items()},
           lambda place, change: edit_json(place.input / _CARD, change))  # fmt: skip
CASES.each("eval", _BASE, {f"fit.json evaluated, of {name}": _CHANGES[name] for name in list(_CHANGES)[:8]},
           lambda place, change: edit_json(place.input / _CARD, change))  # fmt: skip

_TEXTS: dict[str, bytes] = {
    "nothing": b"",
    "half of it": b'{"kind": "scorereg fit", "format": 1, "weights": {"fi',
    "a list": b"[]",
    "a number": b"7",
    "a key twice": b'{"kind": "scorereg fit", "kind": "other", "format": 1}',
    "100,000 levels": b'{"kind": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "bytes that are no text": b"\xff\xfe\x00\xd8" * 40,
}
CASES.each("points", _BASE, {f"fit.json with {name}": text for name, text in _TEXTS.items()},
           lambda place, text: put(place.input / _CARD, text))  # fmt: skip


def _spoil(place: Place, change: Any) -> None:
    """Write changed weights with the checksum of before."""
    path = place.input / _WEIGHTS
    with safe_open(path, "pt") as file:
        state, about = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
    name = max(state, key=lambda key: state[key].numel())
    save_file({k: change(v).contiguous() if k == name else v for k, v in state.items()}, path, about)


_TENSORS: dict[str, Any] = {
    "of NaN": lambda value: value * float("nan"),
    "twice as large": lambda value: 2 * value,
    "in half precision": lambda value: value.half(),
    "of half their rows": lambda value: value[: len(value) // 2],
    "of zeros": torch.zeros_like,
}
CASES.each("render", _BASE, {f"a run with weights {name}": change for name, change in _TENSORS.items()}, _spoil)


@CASES.add("render", _BASE)
def weights_that_are_cut(place: Place) -> None:
    data = (place.input / _WEIGHTS).read_bytes()
    put(place.input / _WEIGHTS, data[: len(data) // 2])


@CASES.add("render", _BASE)
def weights_that_are_a_pickle(place: Place) -> None:
    import pickle

    put(place.input / _WEIGHTS, pickle.dumps(payload(place)))


@CASES.add("render", _BASE)
def weights_with_a_head_of_2_63_bytes(place: Place) -> None:
    put(place.input / _WEIGHTS, struct.pack("<Q", 2**63) + b"{}")


@CASES.add("render", _BASE)
def weights_that_are_a_link_to_a_device(place: Place) -> None:
    _link(place.input / _WEIGHTS, "/dev/zero")


@CASES.add("render", _BASE)
def a_card_that_is_a_link_to_a_device(place: Place) -> None:
    _link(place.input / _CARD, "/dev/zero")


@CASES.add("render", _BASE)
def a_run_without_weights(place: Place) -> None:
    (place.input / _WEIGHTS).unlink()


@CASES.add("render", _BASE)
def a_run_of_before_with_a_pickle(place: Place) -> None:
    import pickle

    (place.input / _CARD).unlink()
    put(place.input / "field.pt", pickle.dumps(payload(place)))


@CASES.add("eval", _BASE)
def a_scene_that_is_gone(place: Place) -> None:
    edit_json(place.input / _CARD, _at("scene", "path", value=str(place.outside / "gone")))


def _link(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)
