"""What to do with a folder that holds something of a training, but is no prior itself."""

import re
from pathlib import Path

from scorereg.priors.card import CARD_FILE

__all__ = ["hint_of_folder"]

_STATE = re.compile(r"(optimizer|scheduler|sampler|scaler|random_states|rng_state|training_args)")  # of a training
_CHECKPOINTS = (".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".pkl")


def hint_of_folder(folder: Path) -> str | None:
    """Return an error that names the file or folder which to give in place of a folder; None if there is none.

    Args:
        folder: A folder without `model_index.json` and `config.json`.
    """
    if not folder.is_dir() or any((folder / name).is_file() for name in (CARD_FILE, "config.json")):
        return None
    inside = sorted(folder.iterdir(), key=lambda path: (_number(path), path.name))
    runs = [path for path in inside if path.is_dir() and re.fullmatch(r"checkpoint[-_]\d+", path.name)]
    files = [path for path in inside if path.is_file() and path.suffix in _CHECKPOINTS and not _STATE.match(path.name)]
    if any(path.suffix == ".distcp" for path in inside):
        return (
            f"{folder} holds a distributed checkpoint of torch. Make one file of it: python -m "
            f"torch.distributed.checkpoint.format_utils dcp_to_torch {folder} model.pt."
        )
    if runs:
        return f"{folder} holds {len(runs)} checkpoints of a training run. Give one: load_prior({str(runs[-1])!r})."
    priors = [path for path in inside if any((path / name).is_file() for name in (CARD_FILE, "model_index.json"))]
    if priors and not files:
        return f"{folder} holds {len(priors)} folders with a prior. Give one: load_prior({str(priors[-1])!r})."
    if files:
        return f"{folder} holds no prior, but {len(files)} checkpoints. Give one: load_prior({str(files[-1])!r})."
    return None


def _number(path: Path) -> int:
    """The number at the end of a name, `model-10.pt`, by which checkpoints are sorted."""
    found = re.search(r"(\d{1,12})$", path.stem)
    return int(found[1]) if found else -1
