"""Checkpoints of a training run, with its whole state, so that a resumed run continues exactly.

    OUT/checkpoints/00000500.pt    one file for each checkpoint: tensors, numbers and text, no code
    OUT/checkpoints/best.json      the step with the smallest error on held-out data

A file is renamed into place when it is complete and on disk. The last few are kept, and the best. What a file holds is
compared with the run before anything of it is loaded. A run that is resumed renames a file that is damaged, with a
warning, and goes on from the one before it; for an export it is an error.
"""

import json
import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from scorereg._ema import make_average
from scorereg._io import is_full, write_beside
from scorereg._io.saved import Damaged, check_adam, check_tensors, fill_adam, saved_bytes, write_saved
from scorereg.priors.adapters.wrapped import WrappedPrior
from scorereg.priors.card import PriorCard
from scorereg.priors.networks.edm import NetworkPrior
from scorereg.training.card import as_prior, make_loss, network_for
from scorereg.training.contents import card_of, check_average, read_checkpoint, settings_of, sum_of
from scorereg.training.losses import EdmLoss, EpsLoss
from scorereg.training.optimizer import make_optimizer
from scorereg.training.settings import Settings, differences
from scorereg.training.start import keep_spectrum

__all__ = [
    "CHECKPOINT_FOLDER", "State", "checkpoint_bytes", "checkpoints", "ema_prior", "init_from_prior", "new_state",
    "resume_state", "save_state",
]  # fmt: skip

CHECKPOINT_FOLDER = "checkpoints"
BEST_FILE = "best.json"


@dataclass
class State:
    """State of a run; all that changes in training.

    Args:
        loss: The loss, which holds the network that is trained.
        card: Card of the prior.
        settings: Settings of the run.
        average: Exponential moving average of the weights.
        optimizer: AdamW with its moments.
        scaler: Scale of the loss in fp16.
        step: Number of steps done.
        seconds: Time spent on them.
        best: Step with the smallest error on held-out data so far, and that error.
        untold: Loss and norm of the gradient of the steps since the last line of `metrics.jsonl`.
    """

    loss: EdmLoss | EpsLoss
    card: PriorCard
    settings: Settings
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    step: int = 0
    seconds: float = 0.0
    best: tuple[int, float] | None = None
    untold: list[tuple[float, float]] = field(default_factory=list)

    def prior(self) -> NetworkPrior | WrappedPrior:
        """Return the averaged network as a prior that shares the average's weights."""
        return as_prior(self.average.module, self.card, steps=self.step)


def new_state(
    card: PriorCard, settings: Settings, *, device: str | torch.device = "cpu", precision: str = "fp32"
) -> State:
    """Return a run before its first step, with weights that depend on the seed alone."""
    loss = make_loss(settings, card, precision).to(device)
    scaler = torch.amp.GradScaler(torch.device(device).type, enabled=precision == "fp16")
    average = make_average(loss.network, settings.ema)
    return State(loss, card, settings, average, make_optimizer(loss.network, settings), scaler)


def init_from_prior(state: State, prior: Any) -> State:
    """Copy a prior's weights into a run before its first step, and into its moving average.

    Args:
        state: A new run; changed in place.
        prior: The prior that the run's `init` names.

    Returns:
        The run.

    Raises:
        ValueError: If the prior's channels or network are not those of the run.
    """
    init = state.settings.init
    if tuple(prior.channels) != tuple(state.card.channels):
        raise ValueError(
            f"--init {init} has the channels {', '.join(prior.channels)}, but the run "
            f"{', '.join(state.card.channels)}. Choose another --channels or --init."
        )
    weights = cast(nn.Module, prior.network).state_dict()
    if _shapes(weights) != _shapes(state.loss.network.state_dict()):
        raise ValueError(
            f"--init {init} is a network of another kind ({_kind(prior.card)}) than the run's ({_kind(state.card)}). "
            "Choose its --network and --recipe."
        )
    state.loss.network.load_state_dict(weights)
    state.average.module.load_state_dict(weights)
    return state


def save_state(state: State, out: Path) -> None:
    """Write a checkpoint, record the best step, and remove old checkpoints.

    On a full disk, all checkpoints but the newest and the best are removed first, and it is tried once more.

    Raises:
        OSError: If it cannot be written; the newest checkpoint and the best are then unchanged.
    """
    content = {
        "card": state.card.to_json(),
        "settings": json.dumps(state.settings.to_json()),
        "network": state.loss.network.state_dict(),
        "average": state.average.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "scaler": state.scaler.state_dict(),
        "step": state.step,
        "seconds": state.seconds,
        "best": list(state.best or ()),
        "untold": [list(values) for values in state.untold],
    }
    content["sha256"] = sum_of(content)
    folder = out / CHECKPOINT_FOLDER
    path = folder / f"{state.step:08d}.pt"
    with suppress(OSError):  # writing names it
        folder.mkdir(parents=True, exist_ok=True)
    try:
        write_saved(path, content)
    except OSError as error:
        if not is_full(error) or not _remove_old(out, state, keep=1):
            raise
        write_saved(path, content)
    best, error = state.best or (-1, 0.0)
    if state.best is not None:
        text = json.dumps({"step": best, "error": error}) + "\n"
        write_beside(folder / BEST_FILE, lambda path: path.write_text(text, encoding="utf-8"))
    _remove_old(out, state, keep=state.settings.keep)


def _remove_old(out: Path, state: State, *, keep: int) -> int:
    """Remove all checkpoints but the newest few and the best; returns how many were removed."""
    best = state.best[0] if state.best else -1
    old = [path for path in checkpoints(out)[:-keep] if _step(path) != best]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)


def checkpoint_bytes(state: State) -> int:
    """Return about how large a checkpoint of a run is, in bytes: weights, average and both moments of Adam."""
    network = saved_bytes(state.loss.network.state_dict())
    return 4 * network + 100_000


def checkpoints(out: Path) -> list[Path]:
    """Return the checkpoint files of a run, oldest first."""
    return sorted((out / CHECKPOINT_FOLDER).glob("[0-9]*.pt"), key=_step)


def resume_state(
    card: PriorCard, settings: Settings, out: Path, *, device: str | torch.device = "cpu", precision: str = "fp32"
) -> State | None:
    """Restore the run of the newest checkpoint that can be read.

    The number of steps and how they are computed may differ from the saved run, and the data may have grown. All other
    settings must agree, and scenes that were held out must still be.

    Returns:
        The run; None if there is no checkpoint.

    Raises:
        ValueError: If no checkpoint can be read, or it is of other settings.
    """
    for left in (out / CHECKPOINT_FOLDER).glob(".*.new"):  # of a run that was killed while writing
        left.unlink()
    found = checkpoints(out)
    for i, path in enumerate(reversed(found)):
        try:
            content = read_checkpoint(path)
            _compare(content, card, settings, path)
            state = new_state(keep_spectrum(card, card_of(content, path)), settings, device=device, precision=precision)
            return _fill(state, content)
        except Damaged as error:
            line = f"{path} is no readable checkpoint ({error})."
            if i == len(found) - 1:
                raise ValueError(f"{line} Start again in another folder, or put a whole copy in its place.") from None
            path.rename(path.with_suffix(".damaged"))
            warnings.warn(f"{line} Going on from the checkpoint before it, {found[-i - 2].name}.", stacklevel=2)
    return None


def _compare(content: dict[str, Any], card: PriorCard, settings: Settings, path: Path) -> None:
    """Refuse a checkpoint of another run."""
    before, saved = card_of(content, path), settings_of(content)
    found = differences(saved | _facts(before), settings.to_json() | _facts(card))
    if lost := sorted(set(before.held_out) - set(card.held_out)):
        found.append(f"held out was {lost[0]}, which is not there or is trained on now ({len(lost)} such)")
    if found:
        raise ValueError(
            f"{path} is of a run with other settings: {'; '.join(found)}. "
            "Resume with the old values, or start again in another folder."
        )


def _fill(state: State, content: dict[str, Any]) -> State:
    """Load a checkpoint into a new run, after its tensors were compared with those of the run."""
    check_tensors(content["network"], state.loss.network.state_dict(), "network")
    check_average(content, state.loss.network)
    check_adam(content["optimizer"], state.optimizer, content["step"])
    state.loss.network.load_state_dict(content["network"])
    state.average.load_state_dict(content["average"])
    fill_adam(state.optimizer, content["optimizer"])
    if state.scaler.is_enabled() and content["scaler"]:
        state.scaler.load_state_dict(content["scaler"])
    state.step, state.seconds = content["step"], content["seconds"]
    state.best = tuple(content["best"]) or None
    state.untold = [(loss, gradient) for loss, gradient in content.get("untold", ())]
    return state


def ema_prior(run: Path, *, best: bool = False) -> NetworkPrior | WrappedPrior:
    """Return the averaged network of a checkpoint as a prior, with the step of the checkpoint on its card.

    Args:
        run: Folder of a run.
        best: Take the checkpoint with the smallest error on held-out data in place of the newest.

    Raises:
        FileNotFoundError: If there is no checkpoint.
        ValueError: If it is damaged.
        OSError: If it cannot be opened.
    """
    found = checkpoints(run)
    if not found:
        raise FileNotFoundError(f"{run / CHECKPOINT_FOLDER} has no checkpoint. Name the --out of a run.")
    path = found[-1]
    try:
        content = read_checkpoint(path)
        if best:
            if not content["best"]:
                raise FileNotFoundError(f"{path} names no best checkpoint: nothing was measured yet. Take the newest.")
            path = path.with_name(f"{content['best'][0]:08d}.pt")
            content = read_checkpoint(path)
        card = card_of(content, path)
        settings_of(content)  # which say whether it is whole
        with torch.device("meta"):  # no random weights: they are loaded
            network = network_for(card)
        check_average(content, network)
    except Damaged as error:
        raise ValueError(
            f"{path} is no readable checkpoint ({error}). Resume the run, which goes on from the one before it, or "
            "put a whole copy in its place."
        ) from None
    average = AveragedModel(network)
    average.load_state_dict(content["average"], assign=True)
    return as_prior(average.module, card, steps=content["step"])


def _step(path: Path) -> int:
    return int(path.stem)


def _facts(card: PriorCard) -> dict[str, Any]:
    return {"channels of the data": list(card.channels), "size of a patch": list(card.size)}


def _kind(card: PriorCard) -> str:
    parts = card.architecture, card.prediction and f"predicts {card.prediction}", card.network.get("size", "")
    return ", ".join(filter(None, parts)) or "not described on its card"


def _shapes(weights: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in weights.items()}
