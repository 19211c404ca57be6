"""Folders of priors: weights, configuration and scheduler in diffusers' format, and `card.json`."""

import dataclasses
import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from scorereg._io import read_json
from scorereg.priors.card import CARD_FILE, PriorCard
from scorereg.priors.networks.agreement import CONFIG_FILE, SCHEDULER_FILE, SIGMA_DATA, check_scheduler
from scorereg.priors.networks.record import RECORD, check_record, load_card, make_record
from scorereg.priors.networks.spectrum import SPECTRUM
from scorereg.priors.weights import (
    CHECKSUM,
    checksum,
    describing,
    fill_network,
    float_weights,
    header_shapes,
    known_settings,
    metadata_of,
    read_tensors,
)

__all__ = ["SIGMA_DATA", "WEIGHTS_FILE", "edm_scheduler", "read_description", "read_network", "write_folder"]

WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
_REMEDY = "Restore the file, or export the prior anew."
SETTINGS = "settings_sha256"  # key in the metadata of the first weights that had a checksum; now there is a record


def write_folder(folder: Path, network: Any, card: PriorCard, scheduler: dict[str, Any], *, half: bool = True) -> None:
    """Write a prior's folder; each file is renamed into place when complete.

    Args:
        folder: Created if it does not exist.
        network: Network with a method `save_config(folder)`.
        card: Card of the network.
        scheduler: Scheduler configuration in diffusers' format; empty where diffusers has none for the network.
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
        network.save_config(new)
        card = dataclasses.replace(card, weights_sha256=checksum(weights))
        files = {CONFIG_FILE: read_json(new / CONFIG_FILE, _REMEDY)}
        record = make_record(card, files | ({SCHEDULER_FILE: scheduler} if scheduler else {}))
        facts = {"format": "pt", CHECKSUM: card.weights_sha256, RECORD: record}
        data = _in_order(save(weights, metadata=facts))
        (new / WEIGHTS_FILE).write_bytes(data)  # unlike save_file, with the permissions of the umask
        if scheduler:
            (new / SCHEDULER_FILE).write_text(json.dumps(scheduler, indent=2) + "\n", encoding="utf-8")
        (new / CARD_FILE).write_text(card.to_json(), encoding="utf-8")
        for path in sorted(new.iterdir()):
            path.replace(folder / path.name)
    if not scheduler:
        (folder / SCHEDULER_FILE).unlink(missing_ok=True)  # of a prior that was there before


def _in_order(data: bytes) -> bytes:
    """Return a safetensors file with its facts in order, so that equal weights are equal bytes.

    The file begins with the size of a JSON header, 8 bytes; places of tensors are counted from the header's end.
    """
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def edm_scheduler(card: PriorCard) -> dict[str, Any]:
    """Return diffusers' scheduler configuration for the EDM noise of a card.

    It is empty for a network that starts from a linear denoiser, whose output diffusers would take for another's.
    """
    if SPECTRUM in card.network:
        return {}
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
    """Load the network of a folder, with float32 weights, and compare its configuration with an old checksum of it.

    Raises:
        FileNotFoundError: If its configuration or weights are missing.
        ValueError: If they cannot be read.
    """
    config, weights = folder / CONFIG_FILE, folder / WEIGHTS_FILE
    for path in (config, weights):
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing. Copy the whole prior folder again, or export the prior anew.")
    entries = read_json(config, _REMEDY)
    name = entries.get("_class_name", "UNet2DModel")
    if name not in ("UNet2DModel", "UNetND"):
        raise ValueError(f"{config} is of a {name!r:.60}; networks trained here are UNet2DModel and UNetND. {_REMEDY}")
    count = len(header_shapes(weights))

    def make() -> Any:
        with describing(config, name, _REMEDY):
            return _make_network(entries, config, count)

    def trial(network: Any) -> None:
        with describing(config, name, _REMEDY):
            shape = [2 ** len(entries["block_out_channels"])] * network.config.get("dimensions", 2)
            network(torch.zeros(1, network.config["in_channels"], *shape), torch.zeros(1), return_dict=False)

    network = fill_network(make, (weights,), trial)
    told = metadata_of(weights).get(SETTINGS)
    if told is not None and told != _settings_sum(config):
        raise ValueError(f"{config} is not the file that was written with its weights. {_REMEDY}")
    return network


def read_description(folder: Path) -> tuple[PriorCard, int] | None:
    """Return the card and the number of weights of a folder, compared with its record; no network is made.

    Returns:
        None if the weights hold no record, so that only making the network shows whether the files belong together.

    Raises:
        OSError: If a file is missing or cannot be read.
        ValueError: If one is damaged, or is not what was written.
    """
    weights = folder / WEIGHTS_FILE
    if RECORD not in metadata_of(weights):
        return None
    card = load_card(folder, weights)
    read_json(folder / CONFIG_FILE, _REMEDY)
    check_record(card, weights)
    if card.prediction in ("", "edm") or not (folder / SCHEDULER_FILE).is_file():
        check_scheduler(card, folder, edm_scheduler(card))
    state = float_weights(read_tensors(weights), weights)
    return card, sum(value.numel() for value in state.values())


def _settings_sum(config: Path) -> str:
    """SHA-256 of a configuration, whatever its spaces and line ends are."""
    entries = read_json(config, _REMEDY)
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()


def _make_network(entries: dict[str, Any], config: Path, count: int) -> Any:
    """The network of a configuration, which may not ask for more layers than there are weights."""
    levels, layers = entries["block_out_channels"], entries.get("layers_per_block", 1)
    if len(levels) * layers > count:
        raise ValueError(f"{layers} layers at each of {len(levels)} levels, but {count} weights")
    if entries.get("_class_name") == "UNetND":
        from scorereg.priors.networks.unet_nd import UNetND

        settings: dict[str, Any] = {key: value for key, value in entries.items() if key != "_class_name"}
        settings["block_out_channels"] = tuple(levels)
        return UNetND(**settings)
    from diffusers import UNet2DModel

    return UNet2DModel(**known_settings(UNet2DModel, entries, config))
