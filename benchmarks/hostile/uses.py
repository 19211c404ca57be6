"""What lies in the way of results, links out of a run, and what is given where a prior is expected."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from benchmarks.hostile.case import Cases, Place, edit_json, put
from benchmarks.hostile.pickles import payload

__all__ = ["CASES"]

CASES = Cases("uses")


def _precious(place: Place) -> Path:
    """A file outside that is not to be written to."""
    return put(place.outside / "precious", "precious")


def _link(place: Place, path: Path) -> None:
    path.symlink_to(_precious(place))


def _zero(place: Place, path: Path) -> None:
    path.symlink_to("/dev/zero")


def _pipe(place: Place, path: Path) -> None:
    os.mkfifo(path)


def _folder(place: Place, path: Path) -> None:
    path.mkdir()


def _file(place: Place, path: Path) -> None:
    path.write_text("x")


_Thing = Callable[[Place, Path], None]
_THINGS: dict[str, _Thing] = {
    "a link outside": _link, "a link to a device": _zero, "a pipe": _pipe, "a folder": _folder, "a file": _file,
}  # fmt: skip


def _lay(place: Place, what: tuple[str, str]) -> None:
    path = place.input / what[0]
    path.unlink(missing_ok=True)
    _THINGS[what[1]](place, path)


_WAYS: dict[str, tuple[str, str, dict[str, tuple[str, ...]]]] = {  # command, base, and what lies where
    "evaluated": ("eval", "fit_run", {
        "eval.json": ("a link outside", "a pipe", "a folder"), ".eval.json.new": ("a link outside", "a pipe"),
        "history.jsonl": ("a link to a device", "a pipe"), "metrics.json": ("a pipe", "a link to a device"),
    }),
    "written": ("logged", "begun", {
        "fit/log.jsonl": ("a link outside", "a link to a device", "a pipe", "a folder"),
        "fit/.log.jsonl.new": ("a link outside", "a pipe"), "fit/tensorboard": ("a file",), "fit/views": ("a file",),
        "fit/contact.png": ("a link outside", "a folder"), "fit/fit.json": ("a link outside", "a folder"),
        "fit/.weights.safetensors.new": ("a link outside", "a pipe"), "fit/metrics.json": ("a folder",),
        "fit/fit.pt": ("a folder",),
    }),
}  # fmt: skip
for _word, (_command, _base, _places) in _WAYS.items():
    _table = {f"{thing} at {path}, {_word}": (path, thing) for path, things in _places.items() for thing in things}
    CASES.each(_command, _base, _table, _lay)


def _poison(place: Place) -> None:
    path = place.input / "init/diffusion_pytorch_model.safetensors"
    state = load_file(path)
    name = max(state, key=lambda key: state[key].numel())
    save_file({**state, name: state[name] * torch.nan}, path)


def _replace(place: Place, base: str) -> None:
    """Put something else in place of the prior."""
    shutil.rmtree(place.input / "init")
    if base == "a pickle":
        put(place.input / "init", pickle.dumps(payload(place)))
    elif base == "a checkpoint with a call":
        torch.save({"model": payload(place)}, place.input / "init")
    elif base == "a run":
        put(place.input / "init/fit.json", json.dumps({"kind": "scorereg fit"}))
        save_file({"field.radius": torch.ones(1)}, place.input / "init/weights.safetensors", {"format": "pt"})
    else:
        _THINGS[base](place, place.input / "init")


_PRIORS = ("a pickle", "a checkpoint with a call", "a run", "a pipe", "a link to a device")
CASES.each("init", "initial", {f"{name} to begin with": name for name in _PRIORS}, _replace)
CASES.each("init", "initial", {"weights of NaN to begin with": None}, lambda place, _: _poison(place))
CASES.each(
    "init", "initial", {"other channels to begin with": ["d"], "two channels to begin with": ["weight", "x"]},
    lambda place, names: edit_json(place.input / "init/card.json", lambda card: card.update(channels=names)),
)  # fmt: skip


@CASES.add("fit", "scene")
def _a_scene_of_10_6_keys(place: Place) -> None:
    edit_json(place.input / "transforms.json", lambda table: table.update({f"k{i}": i for i in range(10**6)}))


@CASES.add("fit", "scene")
def _a_photo_in_10_000_places(place: Place) -> None:
    def change(table: dict[str, Any]) -> None:
        first = table["frames"][0]
        pose = first["transform_matrix"]
        table["frames"] += [{**first, "transform_matrix": _moved(pose, i)} for i in range(10_000)]

    edit_json(place.input / "transforms.json", change)


def _moved(pose: list[list[float]], i: int) -> list[list[float]]:
    return [[*row[:3], row[3] + 1e-4 * (i + 1)] if j == 0 else row for j, row in enumerate(pose)]


@CASES.add("blocks", "meshes")
def _a_gltf_with_a_buffer_that_is_a_device(place: Place) -> None:
    table = {
        "asset": {"version": "2.0"}, "buffers": [{"uri": "../../../../../../../../dev/zero", "byteLength": 36}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}], "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}], "scene": 0,
    }  # fmt: skip
    put(place.input / "four.gltf", json.dumps(table))
