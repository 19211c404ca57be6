"""Folders of ready-made patches of any rank as the source of a run: ray weights, voxel blocks, images.

    arrays.json        {"channels": ["weight"], "range": [-1, 1], "licence": "...", "credits": ["..."], ...}
    train-*.npy        patches to train on, of shape [N, C, *size]
    held-*.npy         patches to measure on

Values are float16 or float32 in prior space, or uint8, with 0 and 255 at the ends of `range`. Any other mapping is
`value = stored * scale + offset` with both in the JSON. Further entries, all optional: `transform` (how raw values
became prior space, for the card), `data` (in words), `mirror` (spatial axes that may be mirrored, from 0), `held_out`
(names), `d_min` and `depth`; others are ignored. The files are memory-mapped, so they may be larger than memory.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scorereg._io import printable, read_json
from scorereg.data.source import SourceInfo, seeded
from scorereg.files.arrays import npy_shape
from scorereg.files.text import as_number

__all__ = ["ARRAYS_FILE", "ArraySource", "open_arrays"]

ARRAYS_FILE = "arrays.json"
_MOST = 1e6


@dataclass(frozen=True)
class Arrays:
    """Memory-mapped files that form one long array, with the mapping of stored values to prior space."""

    files: tuple[np.ndarray, ...]
    scale: float
    offset: float

    def __len__(self) -> int:
        return sum(len(file) for file in self.files)

    def take(self, index: np.ndarray) -> Tensor:
        """Return the patches with these numbers, in prior space, as float32."""
        ends = np.cumsum([len(file) for file in self.files])
        which = np.searchsorted(ends, index, side="right")
        out = np.empty((len(index), *self.files[0].shape[1:]), np.float32)
        for i in np.unique(which):
            rows = which == i
            out[rows] = self.files[i][index[rows] - (ends[i] - len(self.files[i]))]
        return torch.from_numpy(out * np.float32(self.scale) + np.float32(self.offset))


@dataclass(frozen=True)
class ArraySource:
    """Patches of arrays, drawn with equal probability, some of their axes mirrored at random.

    Args:
        about: Description of the data.
        sets: Arrays by the name of their set: `"train"`, and the sets to measure on.
        mirror: Spatial axes that may be mirrored.
    """

    about: SourceInfo
    sets: dict[str, Arrays]
    mirror: tuple[int, ...] = ()

    @property
    def measured(self) -> tuple[str, ...]:
        return tuple(name for name in self.sets if name != "train")

    def batch(self, count: int, *, seed: int, step: int, slot: int) -> tuple[Tensor, Tensor]:
        generator = seeded(seed, step, slot)
        train = self.sets["train"]
        x = train.take(torch.randint(len(train), (count,), generator=generator).numpy())
        for axis in self.mirror:
            mirrored = torch.rand(count, generator=generator) < 0.5
            x[mirrored] = x[mirrored].flip(axis + 2)
        return x, torch.ones_like(x)

    def plain(self, name: str, count: int, *, seed: int) -> tuple[Tensor, Tensor]:
        """Return patches without augmentation, each at most once; fewer than `count` where there are no more."""
        chosen = torch.randperm(len(self.sets[name]), generator=seeded(seed))[:count]
        x = self.sets[name].take(chosen.numpy())
        return x, torch.ones_like(x)


def open_arrays(folder: Path, evaluate: list[Path] | None = None) -> ArraySource:
    """Map the arrays of a folder, and the held-out arrays of further folders to measure on.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If `arrays.json` is not understood, or the arrays contradict it or each other.
    """
    facts = _facts(folder)
    channels = len(facts["channels"])
    sets = {"train": _read(folder, "train", facts), "held-out": _read(folder, "held", facts)}
    sets |= {other.resolve().name: _read(other, "held", _facts(other)) for other in evaluate or []}
    shape = sets["train"].files[0].shape[1:]
    for name, arrays in sets.items():
        if arrays.files[0].shape[1:] != shape:
            raise ValueError(
                f"patches of {name} have shape {arrays.files[0].shape[1:]}, but those of train {shape}. "
                "Cut all to one size."
            )
    size = shape[1:]
    if shape[0] != channels or not 1 <= len(size) <= 3:
        raise ValueError(
            f"{folder} has patches of shape {shape}, but {ARRAYS_FILE} names {channels} channels "
            f"({', '.join(facts['channels'])}). Patches are [C, *size] with one, two or three axes of space."
        )
    if max(facts.get("mirror", [0]), default=0) >= len(size):
        raise ValueError(f"{folder / ARRAYS_FILE}: `mirror` names axes that patches of {shape} have not. Correct it.")
    about = SourceInfo(
        channels=tuple(facts["channels"]),
        size=tuple(int(n) for n in size),
        data=facts.get("data") or f"{len(sets['train'])} patches of {folder.resolve().name}",
        depth=facts.get("depth"),
        d_min=float(facts["d_min"]) if "d_min" in facts else None,
        held_out=tuple(facts.get("held_out", ())) or ("held-*.npy",),
        licence=facts.get("licence", ""),
        credits=tuple(facts.get("credits", ())),
        transform=facts.get("transform", {}),
        range=(float(facts["range"][0]), float(facts["range"][1])),
    )
    return ArraySource(about, sets, tuple(facts.get("mirror", ())))


def _facts(folder: Path) -> dict[str, Any]:
    path = folder / ARRAYS_FILE
    facts = read_json(path, "Make the arrays again.")
    if not facts.get("channels"):
        raise ValueError(f'{path} names no channels. It needs at least {{"channels": ["NAME", ...]}}.')
    facts = {"range": [-1.0, 1.0], **facts}
    for name, (check, what) in _FACTS.items():
        if facts.get(name) is not None and not check(facts[name]):
            raise ValueError(f"{path}: `{name}` cannot be {facts[name]!r:.60}; it is {what}. Correct the file.")
    return {name: value for name, value in facts.items() if value is not None}


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and printable(value) == value


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and all(_is_text(each) for each in value)


def _is_range(value: Any) -> bool:
    ends = [as_number(each) for each in value] if isinstance(value, list) else []
    return len(ends) == 2 and ends[0] is not None and ends[1] is not None and -_MOST < ends[0] < ends[1] < _MOST


def _is_factor(value: Any) -> bool:
    number = as_number(value)
    return number is not None and abs(number) < _MOST


_FACTS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "channels": (lambda v: _is_list(v) and len(set(v)) == len(v), "a list of names, each once"),
    "range": (_is_range, f"the smallest and largest value, within {_MOST:g}"),
    "scale": (lambda v: _is_factor(v) and v != 0, f"a number, not 0, within {_MOST:g}"),
    "offset": (_is_factor, f"a number within {_MOST:g}"),
    "d_min": (lambda v: _is_factor(v) and v > 0, "a number of metres above 0"),
    "mirror": (
        lambda v: isinstance(v, list) and all(type(n) is int and 0 <= n < 3 for n in v),
        "a list of axes from 0",
    ),
    "held_out": (_is_list, "a list of names"),
    "credits": (_is_list, "a list of names"),
    "transform": (lambda v: isinstance(v, dict), "an object"),
    **dict.fromkeys(("data", "licence"), (_is_text, "a text")),
    "depth": (lambda v: v == "planar", '"planar"'),
}


def _read(folder: Path, kind: str, facts: dict[str, Any]) -> Arrays:
    paths = sorted(folder.glob(f"{kind}-*.npy"))
    if not paths:
        raise FileNotFoundError(f"{folder} has no {kind}-*.npy. Expected are train-*.npy and held-*.npy beside it.")
    files = tuple(_map(path) for path in paths)
    for path, file in zip(paths, files, strict=True):
        if file.shape[1:] != files[0].shape[1:] or file.dtype != files[0].dtype or not len(file):
            raise ValueError(
                f"{path} holds {file.dtype} of shape {file.shape}, but {paths[0].name} {files[0].dtype} of "
                f"{files[0].shape}. All arrays must have patches of one shape and kind, and at least one."
            )
    low, high = facts["range"]
    given = "scale" in facts or "offset" in facts or files[0].dtype != np.uint8
    scale, offset = (facts.get("scale", 1.0), facts.get("offset", 0.0)) if given else ((high - low) / 255, low)
    return Arrays(files, float(scale), float(offset))


def _map(path: Path) -> np.ndarray:
    npy_shape(path)  # names what is no such file, or has a head that NumPy stumbles over
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # of NumPy and the system, which map the file
        words = " ".join(str(error).split())[:160] or type(error).__name__
        raise ValueError(f"{path} is no array that can be read ({words}). Make it again.") from None
    if array.dtype not in (np.uint8, np.float16, np.float32) or array.ndim < 3:
        raise ValueError(
            f"{path} holds {array.dtype} with {array.ndim} axes; expected are uint8, float16 or float32, [N, C, *size]."
        )
    return array
