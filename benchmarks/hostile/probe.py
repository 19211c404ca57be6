"""Read an input of each kind to the end, and compare what was read with what the whole input gives."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

__all__ = ["Outcome", "Values", "probe", "read_all"]

_CHANGE = 0.01
Verdict = Literal["refused", "unclear", "traceback", "warned", "same", "changed"]
Values = dict[str, Tensor]


@dataclass(frozen=True)
class Outcome:
    """What a reader made of an input.

    Args:
        verdict: `"refused"` in one line that names a file of the input; `"unclear"`: refused otherwise; `"traceback"`;
            `"warned"`: read, with a warning; `"same"`: read as the whole input, to 1 %; `"changed"`: read as something
            else without a word.
        text: The error, the warning, or what changed by how much.
    """

    verdict: Verdict
    text: str


def probe(kind: str, folder: Path, whole: Values) -> Outcome:
    """Read an input and compare it with the values of the whole one."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            values = read_all(kind, folder)
        except (ValueError, OSError) as error:
            text = str(error)
            clear = "\n" not in text.strip() and (str(folder) in text or any(p.name in text for p in folder.rglob("*")))
            return Outcome("refused" if clear else "unclear", text)
        except Exception as error:  # what this looks for
            return Outcome("traceback", f"{type(error).__name__}: {error}")
    changed = {name: size for name, size in _changes(values, whole).items() if size > _CHANGE}
    said = [str(warning.message) for warning in heard]
    if said:
        return Outcome("warned", said[0])
    text = ", ".join(f"{name} by {size:.3g}" for name, size in changed.items())
    return Outcome("changed" if changed else "same", text)


def read_all(kind: str, folder: Path) -> Values:
    """Return all that a reader takes from an input, as tensors.

    Raises:
        ValueError: If the input is refused.
        OSError: If the input is refused.
    """
    readers: dict[str, Callable[[Path], Values]] = {"scene": _scene, "frames": _frames}
    return readers.get(kind, _denoised)(folder)


def _scene(folder: Path) -> Values:
    from scorereg.scenes import load_scene

    scene = load_scene(folder, 3)
    values = {"poses": scene.cameras.pose, "focal": scene.cameras.focal, "center": scene.cameras.center}
    values |= {"images": scene.images, "range": torch.tensor([scene.near, scene.far, scene.scale])}
    values |= {"train": torch.tensor(scene.train), "test": torch.tensor(scene.test)}
    values |= {"depth": torch.zeros(0) if scene.depth is None else scene.depth}
    values["masks"] = torch.zeros(0) if scene.masks is None else scene.masks
    return {name: value.double() for name, value in values.items()}


def _frames(folder: Path) -> Values:
    from scorereg.data.frames import find_frames, read_frame
    from scorereg.data.frames.depth_unit import DepthRange

    frames, ranges = find_frames([folder]), DepthRange()
    values = {"count": torch.tensor([float(len(frames))])}
    for frame in frames:
        planes = read_frame(frame)
        assert planes.color is not None
        assert planes.metres is not None
        name = f"{frame.file.parent.parent.name}/{frame.file.name}"
        ranges.add(frame.scene, planes.metres)
        values[f"color of {name}"] = torch.from_numpy(planes.color).double()
        values[f"depth of {name}"] = torch.from_numpy(planes.metres).nan_to_num(0).double()
        values[f"focal of {name}"] = torch.tensor(frame.focal or (0.0, 0.0)).double()
    ranges.check()  # as training does
    return values


def _denoised(folder: Path) -> Values:
    from scorereg.priors import load_prior

    (source,) = [*folder.glob("*.pt")] or [folder]
    prior = load_prior(source)
    card = prior.card
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, len(card.channels), 16, 16, generator=generator)
    low, high = max(card.sigma_min, 0.05), min(card.sigma_max, 0.5)
    values = {f"at sigma {s:g}": prior.denoise(x, torch.full((2,), s)) for s in {low, high}}
    facts = torch.tensor([card.sigma_min, card.sigma_max, card.d_min or 0, *(card.focal or (0, 0)), *card.range])
    return {**{name: value.double() for name, value in values.items()}, "card": facts.double()}


def _changes(values: Values, whole: Values) -> dict[str, float]:
    changes = {name: float("inf") for name in set(values) ^ set(whole)}
    for name in set(values) & set(whole):
        new, old = values[name], whole[name]
        if new.shape != old.shape:
            changes[name] = float("inf")
        elif old.numel():
            size = ((new - old).norm() / old.norm().clamp_min(1e-12)).item()
            changes[name] = size if size == size else float("inf")
    return changes
