"""The card of a prior on disk: channels, units, noise levels, network, data and measured errors.

The card is `card.json` in the prior's folder. Units: `d_min` in metres, `focal` in pixels, `sigma` in prior space.
What a program computes with is compared with what was written into the weights (`networks/record.py`); name, data,
licence, credits and the like may be edited.
"""

import dataclasses
import json
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scorereg._io import parse_json, read_json
from scorereg.priors.arguments import at_home
from scorereg.priors.card_fields import checked_fields

__all__ = ["CARD_FILE", "PriorCard"]

CARD_FILE = "card.json"
FORMAT = 1
"""Number of the card's format, its first entry; a reader refuses a larger one."""

_REQUIRED = ("name", "channels", "size", "sigma_min", "sigma_max")
_REMEDY = "Restore the card that came with the prior."


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
        weights_sha256: SHA-256 of the weights beside the card in a prior's folder, in hexadecimal; else empty. Cards
            that differ in nothing else are equal.
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
    weights_sha256: str = field(default="", compare=False)

    def summary(self) -> str:
        """Return name, channels, patch size and noise range on one line, for the `repr` of a prior."""
        size = f", size={'x'.join(map(str, self.size))}" if self.size else ""
        channels = " ".join(self.channels)
        return f"{self.name!r}, channels={channels}{size}, sigma={self.sigma_min:g}..{self.sigma_max:g}"

    def to_json(self) -> str:
        """Return the card as indented JSON text."""
        return json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, *, source: str | Path = CARD_FILE) -> "PriorCard":
        """Read a card from JSON text.

        Args:
            text: A card in JSON.
            source: File of the text, for errors.

        Raises:
            ValueError: If the text is no JSON object or has a key twice; it is of a newer format; it lacks a field, has
                an unknown one, or one of the wrong type or beyond its range; or its noise levels are the wrong way
                round.
        """
        return cls._of_entries(parse_json(text, source, _REMEDY), source)

    @classmethod
    def load(cls, folder: str | Path) -> "PriorCard":
        """Read `card.json` from a prior's folder.

        Raises:
            FileNotFoundError: If the folder or its card is missing.
            OSError: If the card cannot be read.
            ValueError: As for `from_json`.
        """
        folder = at_home(folder)
        if not folder.is_dir():
            raise FileNotFoundError(
                f"{folder} is no folder. Name a prior's folder, with {CARD_FILE} and weights in it."
            )
        path = folder / CARD_FILE
        if not path.is_file():
            like = sorted(p.name for p in folder.iterdir() if p.name.lower().startswith("card") and p.is_file())
            cure = f"If {like[0]} is it, rename it" if like else "Copy the whole folder again"
            raise FileNotFoundError(
                f"{path} is missing, which names this prior's channels and units. {cure}, or export the prior again."
            )
        return cls._of_entries(read_json(path, _REMEDY), path)

    @classmethod
    def _of_entries(cls, entries: dict[str, Any], source: str | Path) -> "PriorCard":
        entries = _current(entries, source)
        _check_names(entries, source)
        card = cls(**checked_fields(entries, source))
        _warn_of_missing(card, entries, source)
        if card.sigma_min > card.sigma_max:
            raise ValueError(
                f"{source}: `sigma_min` is {card.sigma_min:g}, above `sigma_max`, {card.sigma_max:g}. "
                "Correct the one that is wrong, or restore the card that came with the prior."
            )
        return card


def _current(entries: dict[str, Any], source: str | Path) -> dict[str, Any]:
    """Take out the number of the format, and put the parts of `network.kind` of older cards into their places.

    That was a text like "diffusers UNet2DModel, EDM preconditioning".
    """
    number = entries.get("format", FORMAT)
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ValueError(f"{source}: `format` cannot be {number!r:.100}; it is {FORMAT}. {_REMEDY}")
    if number > FORMAT:
        raise ValueError(
            f"{source} is of format {number}, and this scorereg reads {FORMAT}. Update it: pip install -U scorereg."
        )
    entries = {name: value for name, value in entries.items() if name != "format"}
    network = entries.get("network")
    if not isinstance(network, dict) or not isinstance(network.get("kind"), str):
        return entries
    architecture, _, noise = network["kind"].partition(", ")
    parts = {"architecture": architecture, "prediction": "epsilon" if "epsilon" in noise else "edm" if noise else ""}
    return {**parts, **entries, "network": {name: value for name, value in network.items() if name != "kind"}}


def _warn_of_missing(card: PriorCard, entries: dict[str, Any], source: str | Path) -> None:
    """Warn if the card of a prior with disparity does not say of which depth, as a card that was written whole does."""
    if card.weights_sha256:
        return  # what is missing is found by the record of the weights
    missing = [name for name in ("depth", "d_min", "focal") if name not in entries]
    if missing and len(missing) < 3 and "disparity" in card.channels:
        warnings.warn(f"{source} names no {', '.join(missing)}, so that it is not known.", stacklevel=4)


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
