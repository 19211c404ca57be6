"""What a checkpoint of training holds, and the checks of it: keys, numbers, texts, and a checksum over all."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scorereg._io.saved import Damaged, check_number, check_tensors, digest, read_saved
from scorereg.priors.card import PriorCard

__all__ = ["card_of", "check_average", "read_checkpoint", "settings_of", "sum_of"]

_KEYS = {"card", "settings", "network", "average", "optimizer", "scaler", "step", "seconds", "best"}
_LATER = {"untold", "sha256"}  # which older files lack
_SUMMED = ("network", "average", "optimizer", "scaler", "step", "best", "untold")


def sum_of(content: dict[str, Any]) -> str:
    """Return the checksum over a checkpoint but for its texts, which are read strictly, and the time."""
    return digest({name: content[name] for name in _SUMMED if name in content})


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint, and check all of it but what is compared with a network.

    Raises:
        Damaged: If it is not what was written.
        OSError: If it cannot be opened.
    """
    try:
        content = read_saved(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing. Take the newest checkpoint, or put a copy in its place.") from None
    except OSError as error:
        raise OSError(f"{path} cannot be read ({error.strerror or error}). Make it readable.") from None
    if not content.keys() - _LATER == _KEYS:
        raise Damaged(f"it should hold {', '.join(sorted(_KEYS))}")
    check_number(content["step"], "step", int(path.stem), int(path.stem), whole=True)
    check_number(content["seconds"], "seconds", 0)
    best, untold = content["best"], content.get("untold", [])
    if not isinstance(best, list | tuple) or len(best) not in (0, 2):
        raise Damaged("its best step is none")
    if len(best):
        check_number(best[0], "the best step", 0, content["step"], whole=True)
        check_number(best[1], "the best error", 0)
    if not isinstance(untold, list) or any(not _is_pair(values) for values in untold):
        raise Damaged("its losses are none")
    if content.get("sha256") not in (None, sum_of(content)):
        raise Damaged("its checksum is not that of what it holds")
    return content


def _is_pair(values: Any) -> bool:
    return isinstance(values, list) and [type(value) for value in values] == [float, float]


def card_of(content: dict[str, Any], path: Path) -> PriorCard:
    """Return the card of a checkpoint.

    Raises:
        Damaged: If it is none.
    """
    if not isinstance(content["card"], str):
        raise Damaged("its card is none")
    try:
        return PriorCard.from_json(content["card"], source=path)
    except (TypeError, AttributeError, ValueError) as error:
        raise Damaged(f"its card is none: {str(error).removeprefix(f'{path}')[:160].strip()}") from None


def settings_of(content: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a checkpoint, as `Settings.to_json`.

    Raises:
        Damaged: If they are none.
    """
    try:
        settings = json.loads(content["settings"])
    except (TypeError, ValueError, RecursionError):
        settings = None
    if not isinstance(settings, dict):
        raise Damaged("its settings are none")
    return settings


def check_average(content: dict[str, Any], network: nn.Module) -> None:
    """Check that the moving average of a checkpoint is one of a network.

    Raises:
        Damaged: If not.
    """
    weights = {f"module.{name}": value for name, value in network.state_dict().items()}
    check_tensors(content["average"], {"n_averaged": torch.tensor(1), **weights}, "average")
    check_number(content["average"]["n_averaged"].item(), "average.n_averaged", 1, content["step"] + 1)
