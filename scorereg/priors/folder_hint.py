"""What to do with a folder that holds something of a training, but is no prior itself."""

import re
from pathlib import Path

from scorereg.priors.adapters.foreign_folders import foreign_folder
from scorereg.priors.card import CARD_FILE

__all__ = ["hint_of_folder", "hint_of_scheduler"]

_STATE = re.compile(r"(optimizer|scheduler|sampler|scaler|random_states|rng_state|training_args)")  # of a training
_CHECKPOINTS = (".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".pkl")


def hint_of_folder(folder: Path) -> str | None:
    """Return an error that names the file or folder which to give in place of a folder; None if there is none.

    Args:
        folder: A folder without `model_index.json` and `config.json`.
    """
    if not folder.is_dir() or any((folder / name).is_file() for name in (CARD_FILE, "config.json")):
        return None
    if (text := foreign_folder(folder)) is not None:
        return text
    inside = sorted(folder.iterdir(), key=lambda path: (_number(path), path.name))
    runs = [path for path in inside if path.is_dir() and re.fullmatch(r"checkpoint[-_]\d+", path.name)]
    files = [path for path in inside if path.is_file() and path.suffix in _CHECKPOINTS and not _STATE.match(path.name)]
    if runs:
        return f"{folder} holds {len(runs)} checkpoints of a training run. Give one: load_prior({str(runs[-1])!r})."
    marks = (CARD_FILE, "model_index.json")
    priors = [path for path in inside if any((path / name).is_file() for name in marks)]
    priors = priors or sorted(path.parent for name in marks for path in folder.glob(f"*/*/{name}"))
    if priors and not files:
        return f"{folder} holds {len(priors)} folders with a prior. Give one: load_prior({str(priors[-1])!r})."
    if not files:
        folders = [path for path in inside if path.is_dir()]
        below = (text for path in folders for text in (foreign_folder(path), _checkpoints_below(folder, path)))
        return next(filter(None, below), None) or _nothing(folder, inside)
    if (text := _foreign(files[-1])) is not None:
        state = any(_STATE.match(path.name) for path in inside)
        kind = "a state of training, as accelerate's save_state writes it" if state else "no prior"
        return f"{folder} holds {kind}: {text}"
    return f"{folder} holds no prior, but {len(files)} checkpoints. Give one: load_prior({str(files[-1])!r})."


def _checkpoints_below(folder: Path, below: Path) -> str | None:
    """The error for a run whose checkpoints lie in a folder of their own; None if there are none."""
    found = [path for path in below.glob("*") if path.suffix in _CHECKPOINTS and path.is_file()]
    files = sorted((p for p in found if not _STATE.match(p.name)), key=lambda path: (_number(path), path.name))
    if not files or below.name.startswith("."):
        return None
    if (text := _foreign(files[-1])) is not None:
        return f"{folder} holds no prior: {text}"
    return f"{folder} holds no prior, but {len(files)} checkpoints. Give one: load_prior({str(files[-1])!r})."


def _nothing(folder: Path, inside: list[Path]) -> str | None:
    """The error for a folder of which nothing belongs to a prior; None if something may."""
    names = [path.name for path in inside if not path.name.startswith(".")]
    if any(name.endswith("config.json") for name in names) or not names:
        return None
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return (
        f"{folder} holds no prior, but {shown}. A prior's folder has {CARD_FILE}, a pipeline's model_index.json, a "
        "model's config.json; photos with poses are a scene, for scorereg fit."
    )


def _foreign(path: Path) -> str | None:
    """What a checkpoint is that `load_prior` would refuse; None if it would read it, or nothing is known of it."""
    from scorereg.priors.adapters.foreign_files import refusal
    from scorereg.priors.adapters.lucidrains_state import find_unet
    from scorereg.priors.weights import is_safetensors, read_content, read_tensors

    try:
        content = read_tensors(path) if is_safetensors(path) else read_content(path)
        return None if find_unet(content, path) is not None else refusal(content, path)
    except (OSError, ValueError):
        return None  # reading it tells why


def hint_of_scheduler(folder: Path) -> str | None:
    """Return an error that names the folder above one that holds a scheduler alone; None for other folders."""
    if not folder.is_dir() or not (folder / "scheduler_config.json").is_file():
        return None
    others = ("config.json", "model_index.json", CARD_FILE, "unet", "unet_ema")
    if any((folder / name).exists() for name in others) or any(p.suffix in _CHECKPOINTS for p in folder.iterdir()):
        return None
    above = folder.resolve().parent
    model = (above / "model_index.json").is_file() or (above / "unet").is_dir()
    cure = f"Give the whole model: load_prior({str(above)!r})" if model else "Give the folder with its network as well"
    return f"{folder} holds a scheduler alone, without a network. {cure}."


def _number(path: Path) -> int:
    """The number at the end of a name, `model-10.pt`, by which checkpoints are sorted."""
    found = re.search(r"(\d{1,12})$", path.stem)
    return int(found[1]) if found else -1
