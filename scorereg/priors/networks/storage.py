"""Folders of priors: weights, configuration and scheduler in diffusers' format, and `card.json`."""

import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from scorereg.priors.card import CARD_FILE, PriorCard

__all__ = ["CONFIG_FILE", "SIGMA_DATA", "edm_scheduler", "read_network", "write_folder"]

WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
CONFIG_FILE = "config.json"
SCHEDULER_FILE = "scheduler_config.json"
SIGMA_DATA = 0.5  # standard deviation of the data, in prior-space units


def write_folder(folder: Path, network: Any, card: PriorCard, scheduler: dict[str, Any], *, half: bool = True) -> None:
    """Write a prior's folder; each file is renamed into place when complete.

    Args:
        folder: Created if it does not exist.
        network: Network with a method `save_config(folder)`.
        card: Card of the network.
        scheduler: Scheduler configuration in diffusers' format.
        half: Store the weights in half precision.

    Raises:
        OSError: If the folder cannot be written.
    """
    from safetensors.torch import save

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"{folder} cannot be made ({error.strerror}). Choose another folder for the prior.") from None
    kind = torch.float16 if half else torch.float32
    weights = {name: value.detach().to("cpu", kind).contiguous() for name, value in network.state_dict().items()}
    with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as made:
        new = Path(made)
        (new / WEIGHTS_FILE).write_bytes(
            save(weights, metadata={"format": "pt"})
        )  # unlike save_file, with the permissions of the umask
        network.save_config(new)
        (new / SCHEDULER_FILE).write_text(json.dumps(scheduler, indent=2) + "\n", encoding="utf-8")
        (new / CARD_FILE).write_text(card.to_json(), encoding="utf-8")
        for path in sorted(new.iterdir()):
            path.replace(folder / path.name)


def edm_scheduler(card: PriorCard) -> dict[str, Any]:
    """Return diffusers' scheduler configuration for the EDM noise of a card."""
    return {
        "_class_name": "EDMEulerScheduler",
        "sigma_min": card.sigma_min,
        "sigma_max": card.sigma_max,
        "sigma_data": SIGMA_DATA,
        "num_train_timesteps": 1000,
        "prediction_type": "epsilon",
        "rho": 7.0,
        "sigma_schedule": "karras",
    }


def read_network(folder: Path) -> Any:
    """Load the network of a folder, with float32 weights.

    Raises:
        FileNotFoundError: If its configuration or weights are missing.
        ValueError: If they cannot be read.
    """
    from safetensors.torch import load_file

    config, weights = folder / CONFIG_FILE, folder / WEIGHTS_FILE
    for path in (config, weights):
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing. Copy the whole prior folder again, or export the prior anew.")
    network = _make_network(config)
    try:
        state = load_file(weights)
        network.load_state_dict({name: value.to(torch.float32) for name, value in state.items()})
    except Exception as error:  # safetensors' errors, and torch's RuntimeError for other names or shapes
        raise ValueError(
            f"{weights} does not hold this network's weights ({_line(error)}). Copy or export it anew."
        ) from None
    return network


def _make_network(config: Path) -> Any:
    name = "UNet2DModel"
    try:
        entries = json.loads(config.read_text(encoding="utf-8"))
        name = entries.get("_class_name", name)
        if name == "UNetND":
            from scorereg.priors.networks.unet_nd import UNetND

            settings: dict[str, Any] = {key: value for key, value in entries.items() if key != "_class_name"}
            settings["block_out_channels"] = tuple(settings["block_out_channels"])
            return UNetND(**settings)
        from diffusers import UNet2DModel

        return UNet2DModel.from_config(entries)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{config} describes no {name} ({_line(error)}). Restore the file or export anew.") from None


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
