"""Arguments of a run: what they may be, where it may write, and what its card says."""

import json
import math
import tempfile
from pathlib import Path
from typing import Any

import torch

from scorereg.priors.card import PriorCard
from scorereg.priors.network import NETWORK_SIZES, SIGMA_DATA
from scorereg.training.augment import CHANNELS
from scorereg.training.checkpoint import CHECKPOINT_FILE
from scorereg.training.data import RAW_MAX
from scorereg.training.layouts import Frame

__all__ = ["check_file", "check_folder", "check_out", "check_settings", "has_bf16", "make_card"]


def check_settings(settings: dict[str, Any]) -> None:
    """Refuse arguments that no run can have.

    Raises:
        ValueError: If one is out of its range.
    """
    for name in ("steps", "batch", "patch", "save_every"):
        if settings[name] < 1:
            raise ValueError(
                f"{name} must be at least 1, but is {settings[name]}. Give --{name.replace('_', '-')} a number > 0."
            )
    for name in ("focal", "depth_range", "sigma"):
        low, high = settings[name]
        if not 0 < low <= high < math.inf:
            raise ValueError(f"{name} must be two numbers, 0 < low <= high, but is {low:g}, {high:g}.")
    for name in ("d_min", "lr", "sigma_std"):
        if not 0 < settings[name] < math.inf:
            raise ValueError(f"{name} must be > 0, but is {settings[name]:g}.")
    if settings["channels"] not in CHANNELS:
        raise ValueError(f"channels must be one of {', '.join(CHANNELS)}, but is {settings['channels']!r}.")
    if settings["depth_range"][1] > RAW_MAX:
        raise ValueError(
            f"depth_range may not exceed {RAW_MAX:g}, but is {settings['depth_range'][1]:g}: nearer than "
            f"d_min / {RAW_MAX:g} depth is not kept. Give a smaller upper factor."
        )


def check_out(out: Path, *, resume: bool) -> None:
    """Make the run's folder, and see that it can be written and is what `resume` expects.

    Raises:
        OSError: If it cannot be written, or there is nothing to resume.
        ValueError: If it holds a run that is not to be resumed.
    """
    check_folder(out)
    there = (out / CHECKPOINT_FILE).exists()
    if there and not resume:
        raise ValueError(
            f"{out / CHECKPOINT_FILE} holds a run already. Go on with it by --resume, or choose another --out."
        )
    if resume and not there:
        raise FileNotFoundError(
            f"{out / CHECKPOINT_FILE} is not there, so there is nothing to resume. Start without --resume."
        )


def check_folder(out: Path) -> None:
    """Make a folder for results, and see that it can be written before anything is worked out.

    Raises:
        OSError: If it cannot.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise OSError(f"{out} cannot be written ({error.strerror or error}). Choose another --out.") from None


def check_file(path: Path) -> None:
    """Make a file's folder, and see that the file can be written before anything is worked out.

    Raises:
        OSError: If it cannot.
    """
    if path.is_dir():
        raise OSError(f"{path} cannot be written (it is a folder). Name a file in it.")
    check_folder(path.parent)


def make_card(
    name: str,
    settings: dict[str, Any],
    train: list[Frame],
    held: tuple[str, ...],
    *,
    licence: str,
    credits: tuple[str, ...],
) -> PriorCard:
    """Return the card of a prior that is to be trained."""
    scenes = {frame.scene for frame in train}
    folders = ", ".join(sorted({scene.split("/")[0] for scene in scenes}))
    depth = "d" in settings["channels"]
    return PriorCard(
        name=name,
        channels=CHANNELS[settings["channels"]],
        size=(settings["patch"], settings["patch"]),
        sigma_min=settings["sigma"][0],
        sigma_max=settings["sigma"][1],
        depth="planar" if depth else None,
        d_min=settings["d_min"] if depth else None,
        focal=tuple(settings["focal"]),
        network={
            "kind": "diffusers UNet2DModel, EDM preconditioning",
            "size": settings["size"],
            "patchify": NETWORK_SIZES[settings["size"]]["patchify"],
            "sigma_data": SIGMA_DATA,
        },
        data=f"{len(train)} RGB-D frames of {len(scenes)} scenes ({folders})",
        licence=licence,
        credits=credits,
        training=json.loads(json.dumps(settings)),
        held_out=held,
    )


def has_bf16(device: str) -> bool:
    """Say whether the processor has instructions for bfloat16, so that it is faster than float32."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported()
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
