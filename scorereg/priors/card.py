"""The card of a prior on disk: channels, units, noise levels, network, data and measured errors.

The card is `card.json` in the prior's folder. Units: `d_min` in metres, `focal` in pixels, `sigma` in prior space.
"""

import dataclasses
import json
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["CARD_FILE", "PriorCard"]

CARD_FILE = "card.json"
_REQUIRED = ("name", "channels", "size", "sigma_min", "sigma_max")
_PAIRS = ("range", "focal")


@dataclass(frozen=True)
class PriorCard:
    """Facts that a user of a prior must match, and where the prior is from.

    Args:
        name: Short name, usually that of the folder.
        channels: Channel names in order.
        size: Spatial shape of a training patch, in pixels; empty for a network of another library that does not say it.
        sigma_min: Smallest noise level that the network was trained for, in prior-space units.
        sigma_max: Largest such level.
        range: Smallest and largest value of a channel.
        depth: Kind of depth: `"planar"` is the camera's z; None without a depth channel.
        d_min: Depth in metres at which disparity is 1: `disparity = d_min / max(z, d_min)`; None without depth.
        focal: Smallest and largest focal length of the training patches, in pixels; None if they have none.
        architecture: Library and class of the network, like `"diffusers UNet2DModel"`.
        prediction: What the network predicts: `"edm"` (Karras et al. 2022) or `"epsilon"` (the noise); empty for a
            network that was not trained by this library.
        network: Sizes of the network, by name.
        data: Description of the training data.
        licence: Licence of the weights.
        credits: People and works to credit with the weights.
        steps: Number of training steps.
        training: Settings of the training, by name.
        held_out: Scenes that were kept out of training.
        denoising: Measured errors by data set: rows with sigma and the squared errors of the prior and a linear filter.
        residual_quantiles: Quantiles of RMS(x - D(x, sigma)) / sigma over held-out clean patches without noise:
            `"sigma"` and `"levels"` (in (0, 1)) are lists, `"values"` has a list for each sigma with a number for each
            level, `"data"` names the patches. Empty if not measured.
        assumed: What was taken for granted because neither the file nor the caller said it, and which of a file's
            weights were taken, a line each; empty for a network that was trained by this library.
    """

    name: str
    channels: tuple[str, ...]
    size: tuple[int, ...]
    sigma_min: float
    sigma_max: float
    range: tuple[float, float] = (-1.0, 1.0)
    depth: str | None = "planar"
    d_min: float | None = None
    focal: tuple[float, float] | None = None
    architecture: str = ""
    prediction: str = ""
    network: dict[str, Any] = field(default_factory=dict)
    data: str = ""
    licence: str = ""
    credits: tuple[str, ...] = ()
    steps: int = 0
    training: dict[str, Any] = field(default_factory=dict)
    held_out: tuple[str, ...] = ()
    denoising: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    residual_quantiles: dict[str, Any] = field(default_factory=dict)
    assumed: tuple[str, ...] = ()

    def summary(self) -> str:
        """Return name, channels, patch size and noise range on one line, for the `repr` of a prior."""
        size = f", size={'x'.join(map(str, self.size))}" if self.size else ""
        channels = " ".join(self.channels)
        return f"{self.name!r}, channels={channels}{size}, sigma={self.sigma_min:g}..{self.sigma_max:g}"

    def to_json(self) -> str:
        """Return the card as indented JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, *, source: str | Path = CARD_FILE) -> "PriorCard":
        """Read a card from JSON text.

        Args:
            text: A card in JSON.
            source: File of the text, for errors.

        Raises:
            ValueError: If the text is no JSON object, lacks a field, has an unknown one or one of the wrong type, or
                its noise levels are the wrong way round.
        """
        try:
            entries = json.loads(text)
        except (ValueError, RecursionError) as error:  # too long a number and too deep a nesting among them
            raise ValueError(
                f"{source} is no valid JSON ({error}). Restore the card that came with the prior."
            ) from None
        if not isinstance(entries, dict):
            raise ValueError(f"{source} must hold one JSON object, not a {type(entries).__name__}. Restore the card.")
        entries = _current(entries)
        _warn_of_missing(entries, source)
        _check_names(entries, source)
        card = cls(**{name: _convert(name, value, source) for name, value in entries.items()})
        if card.sigma_min > card.sigma_max:
            raise ValueError(
                f"{source}: `sigma_min` is {card.sigma_min:g}, above `sigma_max`, {card.sigma_max:g}. Exchange them."
            )
        return card

    @classmethod
    def load(cls, folder: str | Path) -> "PriorCard":
        """Read `card.json` from a prior's folder.

        Raises:
            FileNotFoundError: If the folder or its card is missing.
            ValueError: As for `from_json`.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise FileNotFoundError(
                f"{folder} is no folder. Name a prior's folder, with {CARD_FILE} and weights in it."
            )
        path = folder / CARD_FILE
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing, which names this prior's channels and units. "
                "Copy the whole folder again, or export the prior again."
            )
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise ValueError(f"{path} is no UTF-8 text. Restore the card that came with the prior.") from None
        return cls.from_json(text, source=path)


def _current(entries: dict[str, Any]) -> dict[str, Any]:
    """Replace the entry `network.kind` of older cards, "diffusers UNet2DModel, EDM preconditioning", by its parts."""
    network = entries.get("network")
    if not isinstance(network, dict) or not isinstance(network.get("kind"), str):
        return entries
    architecture, _, noise = network["kind"].partition(", ")
    parts = {"architecture": architecture, "prediction": "epsilon" if "epsilon" in noise else "edm" if noise else ""}
    return {**parts, **entries, "network": {name: value for name, value in network.items() if name != "kind"}}


def _warn_of_missing(entries: dict[str, Any], source: str | Path) -> None:
    """Warn if the card of a prior with disparity does not say of which depth, as a card that was written whole does."""
    missing = [name for name in ("depth", "d_min", "focal") if name not in entries]
    if missing and len(missing) < 3 and "disparity" in (entries.get("channels") or ()):
        warnings.warn(f"{source} names no {', '.join(missing)}, so that it is not known.", stacklevel=3)


def _check_names(entries: dict[str, Any], source: str | Path) -> None:
    known = [f.name for f in dataclasses.fields(PriorCard)]
    missing = [name for name in _REQUIRED if name not in entries]
    unknown = sorted(set(entries) - set(known))
    if missing:
        raise ValueError(
            f"{source} lacks {', '.join(missing)}. A card needs {', '.join(_REQUIRED)}; add what is missing."
        )
    if unknown:
        raise ValueError(
            f"{source} has unknown fields {', '.join(unknown)}. Known are {', '.join(known)}; remove the rest."
        )


def _convert(name: str, value: Any, source: str | Path) -> Any:
    try:
        return _checked(name, value)
    except (KeyError, TypeError, ValueError):
        raise ValueError(
            f"{source}: `{name}` cannot be {value!r}. Compare it with the card of a shipped prior and correct it."
        ) from None


def _checked(name: str, value: Any) -> Any:
    if name in ("channels", "credits", "held_out", "assumed"):
        return _texts(value, empty=name != "channels")
    if name == "size":
        return tuple(_positive(v, int) for v in (_list(value) if value != [] else ()))
    if name in _PAIRS and value is not None:
        low, high = (_number(v) for v in _list(value))
        if low > high or (name == "range" and low == high):
            raise ValueError
        return low, high
    if name in ("sigma_min", "sigma_max") or (name == "d_min" and value is not None):
        return _positive(value, float)
    if name == "residual_quantiles" and value:
        return _quantiles(value)
    if name == "network" and isinstance(value, dict):
        _positive(value.get("patchify", 1), int)
        return dict(value) if isinstance(value.get("conditional", False), bool) else _refuse()
    if name in ("network", "training", "denoising", "residual_quantiles"):
        return dict(value) if isinstance(value, dict) else _refuse()
    if name == "steps":
        return value if isinstance(value, int) and value >= 0 else _refuse()
    return value if isinstance(value, str) or (value is None and name not in ("name",)) else _refuse()


def _quantiles(value: Any) -> dict[str, Any]:
    """Check that there is a value for each sigma and level."""
    sigmas = [_positive(v, float) for v in _list(value["sigma"])]
    levels = [_positive(v, float) for v in _list(value["levels"])]
    values = [[_positive(v, float) for v in _list(row)] for row in _list(value["values"])]
    good = sigmas == sorted(sigmas) and levels == sorted(levels) and levels[-1] < 1
    good = good and [len(row) for row in values] == [len(levels)] * len(sigmas)
    return {**value, "sigma": sigmas, "levels": levels, "values": values} if good else _refuse()


def _refuse() -> Any:
    raise ValueError


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) and value else _refuse()


def _texts(value: Any, *, empty: bool) -> tuple[str, ...]:
    good = isinstance(value, list) and all(isinstance(v, str) for v in value) and (empty or value)
    return tuple(value) if good else _refuse()


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        raise ValueError
    return float(value)


def _positive(value: Any, kind: type) -> Any:
    if not _number(value) > 0:
        raise ValueError
    if kind is int and not isinstance(value, int):
        raise ValueError
    return kind(value)
