"""The whole state of a training run in one file, so that a resumed run continues the run it resumes.

The file holds tensors, numbers and text only, is read with `weights_only=True`, and is renamed into place when it is
complete.
"""

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scorereg.priors.card import PriorCard
from scorereg.priors.network import NetworkPrior, build_network

__all__ = ["CHECKPOINT_FILE", "State", "ema_prior", "load_state", "new_state", "save_state", "write_beside"]

CHECKPOINT_FILE = "checkpoint.pt"
_FREE = ("steps", "save_every", "bf16")  # what a resumed run may set anew; the rest makes it another run


@dataclass
class State:
    """What changes while training: the only mutable thing of a run.

    Args:
        prior: Network being trained.
        average: Exponential moving average of its weights, by name.
        optimizer: AdamW with its moments.
        generator: Source of all the run's randomness after the initial weights.
        settings: Arguments of the run.
        step: Steps done.
        seconds: Time spent on them.
    """

    prior: NetworkPrior
    average: dict[str, Tensor]
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    settings: dict[str, Any]
    step: int = 0
    seconds: float = 0.0


def new_state(card: PriorCard, settings: dict[str, Any], *, device: str | torch.device = "cpu") -> State:
    """Return a run before its first step; the weights depend on `settings["seed"]` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings["seed"])
        network = build_network(settings["size"], patch=settings["patch"], channels=len(card.channels))
    prior = NetworkPrior(network, card, autocast=settings["bf16"]).to(device)
    average = {name: value.detach().clone() for name, value in prior.network.state_dict().items()}
    optimizer = torch.optim.AdamW(
        prior.parameters(), lr=settings["lr"], betas=(0.9, 0.99), weight_decay=settings["weight_decay"]
    )
    generator = torch.Generator().manual_seed(settings["seed"])
    return State(prior, average, optimizer, generator, settings)


def save_state(state: State, out: Path) -> None:
    """Write the run's state to `out/checkpoint.pt`.

    Raises:
        OSError: If it cannot be written; an older checkpoint is then left as it was.
    """
    content = {
        "card": state.prior.card.to_json(),
        "settings": json.dumps(state.settings),
        "network": state.prior.network.state_dict(),
        "average": state.average,
        "optimizer": state.optimizer.state_dict(),
        "generator": state.generator.get_state(),
        "step": state.step,
        "seconds": state.seconds,
    }
    write_beside(out / CHECKPOINT_FILE, lambda path: torch.save(content, path))


def load_state(card: PriorCard, settings: dict[str, Any], out: Path, *, device: str | torch.device = "cpu") -> State:
    """Return the run that `save_state` wrote, to be continued with `settings`.

    The number of steps may differ from the saved run's, and the data may have grown; the rest must agree.

    Raises:
        FileNotFoundError: If there is no checkpoint.
        ValueError: If it cannot be read, or was made with other settings.
    """
    path = out / CHECKPOINT_FILE
    content = _read(path)
    saved = json.loads(content["settings"])
    for name in sorted(set(saved) | set(settings)):
        if name not in _FREE and saved.get(name) != settings.get(name):
            raise ValueError(
                f"{path} was trained with {name}={saved.get(name)!r}, but {name}={settings.get(name)!r} was asked for. "
                "Resume with the old value, or start anew in another folder."
            )
    state = new_state(card, settings, device=device)
    state.prior.network.load_state_dict(content["network"])
    state.optimizer.load_state_dict(content["optimizer"])
    state.generator.set_state(content["generator"])
    state.average = {name: value.to(device) for name, value in content["average"].items()}
    state.step, state.seconds = content["step"], content["seconds"]
    return state


def ema_prior(run: Path | State) -> NetworkPrior:
    """Return the averaged network of a run, in evaluation mode, with its card at the run's step.

    Args:
        run: A run in memory, or the folder of one, whose newest checkpoint is read.

    Raises:
        FileNotFoundError: If the folder has no checkpoint.
        ValueError: If the checkpoint cannot be read.
    """
    if isinstance(run, State):
        card, step, weights = run.prior.card, run.step, run.average
        network = copy.deepcopy(run.prior.network)
    else:
        content = _read(run / CHECKPOINT_FILE)
        settings = json.loads(content["settings"])
        card = PriorCard.from_json(content["card"], source=run / CHECKPOINT_FILE)
        step, weights = content["step"], content["average"]
        network = build_network(settings["size"], patch=settings["patch"], channels=len(card.channels))
    network.load_state_dict(weights)
    card = PriorCard(**{**card.__dict__, "steps": step})
    return NetworkPrior(network, card).eval().requires_grad_(False)


def write_beside(path: Path, write: Any) -> None:
    """Call `write` with a path beside `path`, then rename it into place.

    Raises:
        OSError: If it cannot be written.
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        write(beside)
        beside.replace(path)
    except RuntimeError as error:  # torch.save reports a full or forbidden disk so
        raise OSError(
            f"{path} cannot be written ({str(error).splitlines()[0]}). Free some space or choose another --out."
        ) from None
    finally:
        beside.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there, so there is no run to go on with. Start without --resume.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and pickle have no common error for a damaged file
        line = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise ValueError(f"{path} is no readable checkpoint ({line}). Start anew in another folder.") from None
