"""`fit.json`, the card of a fit: scene, cameras, recipe, terms and priors as one JSON object."""

import dataclasses
import hashlib
import json
import math
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scorereg._io import printable, read_json, write_beside
from scorereg._io.saved import Damaged, check_number
from scorereg.cameras import Cameras
from scorereg.fit.fingerprint import fingerprint
from scorereg.fit.recipe import Recipe
from scorereg.scenes import Scene
from scorereg.scenes.scene import SceneSource

__all__ = [
    "CARD", "FORMAT", "check_unchanged", "describe_scene", "describe_terms", "read_card", "recipe_of", "scene_of",
    "write_card",
]  # fmt: skip

CARD, KIND, FORMAT = "fit.json", "scorereg fit", 1
_SUM = "sha256"
_CURE = "Copy the whole folder again, or fit again."
_SOURCE = tuple(field.name for field in dataclasses.fields(SceneSource))
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_PLAIN = bool | int | float | str
_PIXELS, _SAMPLES = 2**28, 4096  # of a picture, and of a ray: beyond them a card asks for memory that no fit needs
_TURNED = 1e-2  # that the rows of a rotation may be off from unit length and right angles


def describe_scene(scene: Scene) -> dict[str, Any]:
    """Return what renders and exports need of a scene: all but the photos themselves."""
    source = scene.source
    told = {key: getattr(scene, key) for key in ("name", "near", "far", "scale", "metric", "scale_source")}
    found = dict.fromkeys(_SOURCE) if source is None else dataclasses.asdict(source)
    cameras = scene.cameras.to("cpu")
    split = dict.fromkeys(scene.test, "test") | dict.fromkeys(scene.train, "train")
    views = [
        {
            "photo": name, "split": split.get(i), "pose": cameras.pose[i].tolist(), "focal": cameras.focal[i].tolist(),
            "center": cameras.center[i].tolist(),
        }
        for i, name in enumerate(scene.filenames)
    ]  # fmt: skip
    size = {"width": cameras.width, "height": cameras.height}
    return {**told, "offset": list(scene.offset), **found, **size, "cameras": views}


def describe_terms(terms: Sequence[Any]) -> list[dict[str, Any]]:
    """Return name, class and settings of each term; of a prior its name and the checksum of its weights."""
    return [dict(term) if isinstance(term, Mapping) else _describe_term(term) for term in terms]


def write_card(folder: Path, content: dict[str, Any]) -> None:
    """Write `fit.json`, with format and kind first, a checksum of the rest last; a camera a line.

    Raises:
        OSError: If it cannot be written.
    """
    table = {"kind": KIND, "format": FORMAT, **content}
    table[_SUM] = _checksum(table)
    views = table["scene"]["cameras"]
    marked = {**table, "scene": {**table["scene"], "cameras": [f"\0{i}" for i in range(len(views))]}}
    text = json.dumps(marked, indent=1)
    for i, view in enumerate(views):
        text = text.replace(json.dumps(f"\0{i}"), json.dumps(view), 1)
    write_beside(folder / CARD, lambda beside: beside.write_text(text + "\n", encoding="utf-8"))


def read_card(path: Path) -> dict[str, Any]:
    """Read `fit.json`, of which kind and format are checked.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is damaged, another file, or of a newer format.
    """
    card = read_json(path, _CURE)
    if card.get("kind") != KIND:
        raise ValueError(f"{path} is no card of a fit (`kind` is not {KIND!r}). Give the folder of a fit.")
    number = card.get("format")
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ValueError(f"{path}: `format` is {str(number)[:40]!r}, not a number. {_CURE}")
    if number != FORMAT:
        version = str(card.get("version"))[:40]
        raise ValueError(
            f"{path} is of format {number}, written by scorereg {version}; this version reads format {FORMAT}. "
            f"{'Update scorereg' if number > FORMAT else 'Fit again'}."
        )
    return card


def check_unchanged(card: dict[str, Any], path: Path) -> None:
    """Hold a card against its own checksum, which is of all but the scene's folder, which may be moved, and the time.

    Warns:
        UserWarning: If it has none, as those of earlier versions.

    Raises:
        ValueError: If it was changed.
    """
    if _SUM not in card:
        warnings.warn(f"{path} has no checksum, so a change of it cannot be seen. Fit again to be sure.", stacklevel=4)
    elif card[_SUM] != _checksum(card):
        raise ValueError(f"{path} was changed after it was written: its checksum differs. {_CURE}")


def _checksum(card: dict[str, Any]) -> str:
    scene = {key: value for key, value in card["scene"].items() if key != "path"}
    kept = {key: value for key, value in card.items() if key not in (_SUM, "seconds")} | {"scene": scene}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def scene_of(table: Any, device: torch.device | str = "cpu") -> Scene:
    """Return the scene of a card: its photos, which are not there, are NaN and take no memory.

    Raises:
        Damaged: If an entry cannot be.
    """
    if not isinstance(table, dict):
        raise Damaged("it has no `scene`")
    for key, kind in (("name", str), ("scale_source", str), ("metric", bool)):
        _check_kind(table.get(key), kind, key)
    for key in ("near", "far", "scale"):
        check_number(table.get(key), key, 0)
    if not 0 < table["near"] < table["far"] or not table["scale"] > 0:
        raise Damaged("near, far and scale are not 0 < near < far and scale > 0")
    offset = table.get("offset", [])
    _check_numbers(offset, (3,), "offset")
    for key in ("width", "height"):
        check_number(table.get(key), key, 1, _PIXELS, whole=True)
    if table["width"] * table["height"] > _PIXELS:
        raise Damaged(f"pictures of {table['width']}x{table['height']} are larger than any photo that is read")
    views = table.get("cameras")
    if not isinstance(views, list) or not views or not all(isinstance(view, dict) for view in views):
        raise Damaged("`cameras` is no list of cameras")
    cameras = _cameras(views, table["width"], table["height"]).to(device)
    names = tuple(view["photo"] for view in views)
    train, test = (tuple(i for i, view in enumerate(views) if view.get("split") == part) for part in ("train", "test"))
    if not train:
        raise Damaged("no camera is one of training")
    photos = torch.full((1, 1, 1, 1), math.nan, device=device).expand(len(views), table["height"], table["width"], 3)
    return Scene(
        table["name"], photos, cameras, None, train, test, float(table["near"]), float(table["far"]),
        float(table["scale"]), table["metric"], names, table["scale_source"],
        offset=(float(offset[0]), float(offset[1]), float(offset[2])), source=_source(table),
    )  # fmt: skip


def recipe_of(table: Any) -> Recipe:
    """Return the recipe of a card.

    Raises:
        Damaged: If a number is missing or cannot be.
    """
    if not isinstance(table, dict) or set(table) != {field.name for field in dataclasses.fields(Recipe)}:
        raise Damaged("`recipe` does not have the numbers of a Recipe")
    whole = ("steps", "rays", "samples", "proposal_samples", "image_oversampling")
    for name, value in table.items():
        check_number(value, name, 1 if name in whole else 0, 10**9, whole=name in whole)
    for name in ("samples", "proposal_samples"):
        check_number(table[name] * table["image_oversampling"], f"{name} of a ray", 1, _SAMPLES)
    if not table["background"] <= 1:
        raise Damaged(f"background is {table['background']:g}")
    return Recipe(**table)


def _describe_term(term: Any) -> dict[str, Any]:
    settings = {name: _setting(value) for name, value in term.settings().items()}
    return {"name": term.name, "class": type(term).__qualname__, "settings": settings}


def _setting(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, _PLAIN):
        return value
    if isinstance(value, tuple | list) and all(isinstance(x, _PLAIN) for x in value):
        return [_setting(x) for x in value]
    if (card := getattr(value, "card", None)) is not None:
        return {"prior": card.name, "weights_sha256": _weights_sum(value)}
    try:
        return fingerprint(value)
    except ValueError:
        return type(value).__qualname__


def _weights_sum(prior: Any) -> str | None:
    """Checksum of a prior's weights; None where it is no module and its card has none."""
    from scorereg.priors.weights import checksum

    if told := prior.card.weights_sha256:
        return told
    network = prior if isinstance(prior, nn.Module) else getattr(prior, "network", None)
    state = network.state_dict() if isinstance(network, nn.Module) else {}
    plain = {k: v for k, v in state.items() if isinstance(v, Tensor) and v.layout == torch.strided and not v.is_meta}
    return checksum(plain) if plain else None


def _cameras(views: list[dict[str, Any]], width: int, height: int) -> Cameras:
    for view in views:
        _check_kind(view.get("photo"), str, "`photo` of a camera")
        if not _is_name(view["photo"]):  # pictures are called so
            raise Damaged(f"`photo` of a camera is no name of a file: {printable(view['photo'])[:80]!r}")
        for key, shape in (("pose", (3, 4)), ("focal", (2,)), ("center", (2,))):
            _check_numbers(view.get(key), shape, f"{key} of {view['photo'][:80]}")
        if min(view["focal"]) <= 0:
            raise Damaged(f"focal of {view['photo'][:80]} is not above 0")
    pose, focal, center = (torch.tensor([view[key] for view in views]).float() for key in ("pose", "focal", "center"))
    turn = pose[:, :, :3]
    off = (turn @ turn.mT - torch.eye(3)).abs().amax((1, 2))
    wrong = ~((off <= _TURNED) & (torch.linalg.det(turn) > 0))
    if bool(wrong.any()):
        raise Damaged(f"the pose of {views[int(wrong.int().argmax())]['photo'][:80]} has no rotation")
    return Cameras(pose, focal, center, width, height)


def _is_name(name: str) -> bool:
    """Whether a file can have a name; JSON may hold halves of a surrogate pair, which no name has."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return bool(Path(name).stem) and not _CONTROL.search(name)


def _source(table: dict[str, Any]) -> SceneSource | None:
    if table.get("path") is None:
        return None
    for key, kind in (("path", str), ("alpha", str)):
        _check_kind(table.get(key), kind, key)
    check_number(table.get("views"), "views", 1, 2**31, whole=True)
    if (most := table.get("max_size")) is not None:
        check_number(most, "max_size", 1, 2**31, whole=True)
    _check_kind(table.get("object_only"), bool, "object_only")
    split = table.get("split")
    if split is not None:
        parts = split if isinstance(split, list) and len(split) == 2 else [None]
        if not all(isinstance(part, list) and all(type(i) is int for i in part) for part in parts):
            raise Damaged("`split` is not two lists of positions")
        split = tuple(split[0]), tuple(split[1])
    return SceneSource(table["path"], table["views"], most, table["alpha"], split, table["object_only"])


def _check_kind(value: Any, kind: type, name: str) -> None:
    if not isinstance(value, kind):
        raise Damaged(f"{name} is {str(value)[:40]!r}, not a {kind.__name__}")


def _check_numbers(value: Any, shape: tuple[int, ...], name: str) -> None:
    """Check nested lists of finite numbers, of a size that float32 has."""
    if not shape:
        check_number(value, name, -(10**30), 10**30)
        return
    if not isinstance(value, list) or len(value) != shape[0]:
        raise Damaged(f"{name} is no list of {' x '.join(map(str, shape))} numbers")
    for item in value:
        _check_numbers(item, shape[1:], name)
