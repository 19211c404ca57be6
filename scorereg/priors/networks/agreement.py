"""Whether card, configuration and scheduler of a prior's folder say the same of what each of them says."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scorereg._io import read_json
from scorereg.priors.card import CARD_FILE, PriorCard
from scorereg.priors.networks.spectrum import SPECTRUM, inputs_of

__all__ = [
    "CONFIG_FILE",
    "SCHEDULER_FILE",
    "SIGMA_DATA",
    "check_card_of_model",
    "check_network",
    "check_scheduler",
    "check_size",
]

CONFIG_FILE = "config.json"
SCHEDULER_FILE = "scheduler_config.json"
SIGMA_DATA = 0.5  # standard deviation of the data, in prior-space units

_TOGETHER = "They do not belong together; copy both again."
_ENTRIES = ("size", "patchify", "sigma_data", "conditional", SPECTRUM)  # of a card's `network`
_IDLE = ("final_sigmas_type",)  # what diffusers writes and no network computes with


def check_network(card: PriorCard, folder: Path, config: Mapping[str, Any], kind: str) -> None:
    """Check that a card and the configuration of a network trained here describe one network.

    Args:
        card: The folder's card.
        folder: The prior's folder, for errors.
        config: The network's settings: diffusers' names, and `dimensions` for lines and volumes.
        kind: Class of the network.

    Raises:
        ValueError: If they differ; the error names both files and values.
    """
    at, other = folder / CARD_FILE, folder / CONFIG_FILE
    dimensions, fold = config.get("dimensions", 2), card.network.get("patchify", 1)
    if len(card.size) != dimensions:
        raise ValueError(
            f"{at} has patches of size {_size(card.size)}, but {other} {dimensions} dimensions. {_TOGETHER}"
        )
    folded = len(card.channels) * fold**dimensions
    inside, outside = config["in_channels"], config.get("out_channels", folded)
    if (inside, outside) != (folded * inputs_of(card), folded):
        takes = f"takes {inside}" if outside == folded else f"takes {inside} and returns {outside}"
        raise ValueError(
            f"{at} names {len(card.channels)} channels ({', '.join(card.channels)}), but the network in {other} "
            f"{takes}. {_TOGETHER}"
        )
    sample = config.get("sample_size")
    sides = (sample,) * dimensions if isinstance(sample, int) else sample
    if sides is not None and tuple(fold * side for side in sides) != card.size:
        raise ValueError(
            f"{at} has patches of {_size(card.size)}, but the network in {other} was made for "
            f"{_size([fold * side for side in sides])}. {_TOGETHER}"
        )
    stride = fold * 2 ** (len(config["block_out_channels"]) - 1)
    if any(side % stride for side in card.size):
        raise ValueError(
            f"{at} has patches of {_size(card.size)}, but the network in {other} takes multiples of {stride}. "
            f"{_TOGETHER}"
        )
    _check_words(card, at, other, kind)


def _check_words(card: PriorCard, at: Path, other: Path, kind: str) -> None:
    """Check what a card says of the network's class and preconditioning, and that all of it is understood."""
    if card.architecture.startswith(("diffusers ", "scorereg ")) and card.architecture.split()[-1] != kind:
        raise ValueError(f"{at} says {card.architecture!r}, but {other} is of a {kind}. {_TOGETHER}")
    told = card.network.get("sigma_data", SIGMA_DATA)
    if told != SIGMA_DATA:
        raise ValueError(
            f"{at} says sigma_data {told!r:.40}, but networks trained here have {SIGMA_DATA}. Put it back."
        )
    if unknown := sorted(set(card.network) - set(_ENTRIES)):
        warnings.warn(f"{at}: {', '.join(unknown)} means nothing in `network` and is left out.", stacklevel=4)
    if card.d_min is not None and "disparity" not in card.channels:
        warnings.warn(f"{at}: `d_min` means nothing without a channel `disparity`. Take it out.", stacklevel=4)


def check_scheduler(card: PriorCard, folder: Path, expected: Mapping[str, Any]) -> None:
    """Check that the scheduler's file, where there is one, is that of the card.

    Args:
        card: The folder's card.
        folder: The prior's folder.
        expected: The scheduler's settings as they follow from the card.

    Raises:
        ValueError: If an entry differs; the error names both files and values.
    """
    path, at = folder / SCHEDULER_FILE, folder / CARD_FILE
    if card.prediction not in ("", "edm"):
        what = "is of EDM" if path.is_file() else "is missing"
        raise ValueError(
            f"{at} says prediction {card.prediction!r}, but {path} {what}. Put back the one that is wrong."
        )
    if not path.is_file():
        if card.prediction:
            return
        raise FileNotFoundError(
            f"{path} is missing, and {at} does not say what the network predicts. Copy the whole folder again; or, of "
            'a prior that was trained here by EDM, write "prediction": "edm" into the card.'
        )
    found = read_json(path, "Restore it, or export the prior anew.")
    for name, value in expected.items():
        if name in found and found[name] != value:
            raise ValueError(
                f"{path} says {name} {found[name]!r:.60}, but {at} {value!r} (prediction "
                f"{card.prediction or 'edm'!r}). Put back the one that was changed."
            )
    unknown = sorted(k for k in found if k not in expected and not k.startswith("_") and k not in _IDLE)
    if unknown:
        warnings.warn(f"{path}: {', '.join(unknown)} means nothing for this prior and is left out.", stacklevel=3)


def check_card_of_model(card: PriorCard, folder: Path, settings: Mapping[str, Any], sample: Any) -> None:
    """Check that a card beside a model of diffusers says what the model's own files say.

    Args:
        card: The card.
        folder: The card's folder.
        settings: The noise as arguments of `wrap`, with `prediction`.
        sample: Sides of a patch in the model's configuration; None where it does not say.

    Raises:
        ValueError: If they differ.
    """
    told = settings["prediction"]
    if card.prediction not in ("", told):
        raise ValueError(
            f"{folder / CARD_FILE} says prediction {card.prediction!r}, but {SCHEDULER_FILE} {told!r}. Mend the "
            "one that is wrong, or copy the whole folder again."
        )
    sides = (sample, sample) if isinstance(sample, int) else sample
    if card.size and sides is not None and tuple(sides) != card.size:
        raise ValueError(
            f"{folder / CARD_FILE} has patches of {_size(card.size)}, but {CONFIG_FILE} of {_size(sides)}. Mend the "
            "one that is wrong, or copy the whole folder again."
        )


def check_size(size: tuple[int, ...], sample: Any, folder: Path) -> None:
    """Check that a patch size which a caller gives is that of a model's configuration, where it says one.

    Args:
        size: The size given.
        sample: The configuration's `sample_size`.
        folder: The model's folder, for the error.

    Raises:
        ValueError: If they differ.
    """
    sides = (sample,) * len(size) if isinstance(sample, int) else sample
    if sides is not None and tuple(sides) != tuple(size):
        raise ValueError(
            f"size={tuple(size)} contradicts {folder / CONFIG_FILE}, which says sample_size {sample}. Leave size "
            "out, or mend the file if its network was trained on other patches."
        )


def _size(sides: Any) -> str:
    return "x".join(map(str, sides))
