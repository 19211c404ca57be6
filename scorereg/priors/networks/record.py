"""What a prior's folder was written with, kept in the header of its weights, so that an edited file is seen.

Recorded are the configuration, the scheduler, and those fields of the card that a program computes with. Name, data,
licence, credits, steps and denoising errors are not: they may be edited.
"""

import dataclasses
import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scorereg._io import read_json
from scorereg.priors.card import CARD_FILE, PriorCard
from scorereg.priors.weights import CHECKSUM, checksum, is_safetensors, metadata_of, read_tensors

__all__ = ["RECORD", "check_record", "load_card", "make_record"]

_MOST = 1e300

RECORD = "written"
"""Key of the record in the metadata of the weights."""

_FIELDS = (
    "channels", "size", "sigma_min", "sigma_max", "range", "depth", "d_min", "focal", "architecture", "prediction",
    "network", "residual_quantiles",
)  # fmt: skip


def make_record(card: PriorCard, files: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the record as JSON text.

    Args:
        card: The card.
        files: Content of the folder's other JSON files, by name.
    """
    return json.dumps({CARD_FILE: _facts(card), **files}, sort_keys=True)


def check_record(card: PriorCard, weights: Path) -> None:
    """Check that the JSON files beside weights are those that they were written with.

    Weights without a record, of an older version or another program, are warned of: nothing is known of them.

    Args:
        card: The folder's card.
        weights: The file of the weights.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a file is another one; the error names the entry and both values.
    """
    told = metadata_of(weights) if is_safetensors(weights) else {}
    _check_sum(card, weights, told.get(CHECKSUM))
    if RECORD not in told:
        warnings.warn(
            f"{weights} holds no record of the card and settings beside it (it is of an older version or another "
            "program), so that a change of them would not be seen. If they are right, write the folder anew: scorereg "
            "export FOLDER --out NEW.",
            stacklevel=3,
        )
        return
    try:
        record = json.loads(told[RECORD])
        files = {name: dict(entries) for name, entries in record.items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise ValueError(f"{weights} is damaged: its header cannot be read. Copy it again.") from None
    for name, entries in files.items():
        path = weights.parent / name
        if name == CARD_FILE:
            _compare(entries, {k: v for k, v in _facts(card).items() if k in entries}, path, _change(path.parent))
        elif path.is_file():  # what is needed and not there is missed by its reader
            _compare(entries, read_json(path, _REMEDY), path, _REMEDY)


def load_card(folder: Path, weights: Path) -> PriorCard:
    """Read a folder's card; where an entry cannot be, the error names what the weights were written with.

    Args:
        folder: The prior's folder.
        weights: The file of the weights.

    Raises:
        OSError: If the card cannot be read.
        ValueError: As for `PriorCard.load`.
    """
    try:
        return PriorCard.load(folder)
    except ValueError as error:
        told = _written(folder / CARD_FILE, weights)
        raise ValueError(f"{error}{f' The weights were written with {told}.' if told else ''}") from None


def _written(path: Path, weights: Path) -> str:
    """The entries of a card that are others than those that its weights record, as these record them."""
    try:
        now, before = read_json(path, _REMEDY), json.loads(metadata_of(weights)[RECORD])[CARD_FILE]
        other = [name for name in _FIELDS if name in now and name in before and not _same(before[name], now[name])]
        return ", ".join(f"`{name}` {_short(before[name])}" for name in other[:3])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return ""  # nothing is known of them


_REMEDY = "Put it back, or export the prior anew."


def _change(folder: Path) -> str:
    return (
        f"Put it back; to change it on purpose: prior = load_prior({str(folder)!r}), prior.card = "
        "dataclasses.replace(prior.card, ...), scorereg.training.save_prior(prior, folder)."
    )


def _facts(card: PriorCard) -> dict[str, Any]:
    """The fields of a card that a program computes with, as JSON has them."""
    entries = json.loads(json.dumps(dataclasses.asdict(card)))
    return {name: entries[name] for name in _FIELDS} | {"transform": entries["training"].get("transform")}


def _check_sum(card: PriorCard, weights: Path, told: str | None) -> None:
    """Compare the checksum on the card with that of the weights, which their reader has compared with the weights."""
    if card.weights_sha256 and card.weights_sha256 != (told or checksum(read_tensors(weights))):
        raise ValueError(
            f"{weights.parent / CARD_FILE} was written with other weights than those of {weights.name} beside it: its "
            "`weights_sha256` is not theirs. Copy the whole folder of one prior."
        )


def _compare(before: Mapping[str, Any], now: Mapping[str, Any], path: Path, remedy: str) -> None:
    names = [k for k in (*before, *(k for k in now if k not in before)) if k == "_class_name" or k[:1] != "_"]
    other = [name for name in names if not _same(before.get(name), now.get(name))]
    if other:
        first = other[0]
        is_now = f"is {_short(now[first])}" if first in now else "is missing"
        was = f"was {_short(before[first])}" if first in before else "was not there"
        more = f" (and {len(other) - 1} more)" if len(other) > 1 else ""
        raise ValueError(
            f"{path} is not the file that was written with its weights: `{first}` {is_now}, {was}{more}. {remedy}"
        )


def _same(one: Any, other: Any) -> bool:
    """Whether two values of JSON are equal; 5 and 5.0 are, 1 and true are not."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, float) and isinstance(other, int | float):
        known = not isinstance(other, bool) and abs(other) < _MOST  # a whole number may be too long for a float
        return known and math.isclose(one, other, rel_tol=1e-12)
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
