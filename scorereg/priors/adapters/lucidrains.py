"""Checkpoints of `denoising-diffusion-pytorch`, versions 0.27 and later, as priors.

Dimensions of the network, the noise table and from 1.5 on the prediction target are read from the tensors. What a file
does not say and changes the result is asked for. The model of DiffusioNeRF (Wynn and Turmukhambetov 2023, arXiv
2302.12231) is such a file, of version 0.27. No code in a file is run.
"""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scorereg.priors.adapters.diffusers import NAMED, channel_names
from scorereg.priors.adapters.foreign_files import refusal
from scorereg.priors.adapters.lucidrains_facts import (
    agreed_prediction,
    ask_for_missing,
    check_kind,
    check_version,
    noise_table,
    told_prediction,
    told_version,
    unsupported,
)
from scorereg.priors.adapters.lucidrains_layout import HEAD_WIDTH, is_grouped, network_of
from scorereg.priors.adapters.lucidrains_state import FoundState, find_unet
from scorereg.priors.adapters.lucidrains_unet import GROUPS
from scorereg.priors.adapters.noise_tables import noise_table_of
from scorereg.priors.adapters.wrapped import WrappedPrior, wrap
from scorereg.priors.arguments import at_home
from scorereg.priors.weights import float_weights, is_safetensors, read_content, read_tensors

__all__ = ["is_lucidrains", "load_lucidrains"]

RGBD = ("r", "g", "b", "disparity")
D_MIN = 0.2  # metres, of DiffusioNeRF


def is_lucidrains(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is a checkpoint of `denoising-diffusion-pytorch`; no code in it is run."""
    try:
        path = at_home(path)
        return find_unet(_read(path), path) is not None
    except (ValueError, OSError):
        return False


def load_lucidrains(
    path: str | os.PathLike[str],
    device: str | torch.device = "cpu",
    *,
    channels: tuple[str, ...] | None = None,
    size: tuple[int, ...] | None = None,
    d_min: float | None = None,
    data_range: tuple[float | int, float | int] | None = None,
    prediction: str | None = None,
    betas: Any = None,
    groups: int | None = None,
    version: str | None = None,
) -> WrappedPrior:
    """Load a checkpoint, with its averaged weights if it has them.

    The network may lie anywhere in the file, under the names of wrappers. A self-conditioned network gets no estimate
    as input, as in half of its training steps. An argument that contradicts the file is an error.

    Args:
        path: The file, such as `model-10.pt`.
        device: Device of the weights.
        channels: Channel names, in order. Default by their number: gray; r, g, b; r, g, b, disparity (DiffusioNeRF).
        size: Spatial shape of a training patch, which the file does not have; DiffusioNeRF's model has (48, 48).
        d_min: Depth at which disparity is 1, in metres, if there is disparity; by default DiffusioNeRF's 0.2.
        data_range: Range of the data in training, by default (-1, 1); (0, 1) for `auto_normalize=False`.
        prediction: Prediction target: epsilon, sample or v_prediction. Needed for files before 1.5, which do not tell
            it.
        betas: Noise table; needed for a U-Net's state dict without its diffusion.
        groups: Groups of the group norm (`resnet_block_groups`), by default 8; needed if 8 does not divide the widths.
        version: Version of the package that wrote the file. Needed for files before 1.0, and for state dicts before
            1.8, which do not name it: attention differs between them.

    Raises:
        OSError: If there is no such file.
        ValueError: If it holds code, is damaged or no checkpoint of a `GaussianDiffusion` with a `Unet` for images,
            does not say something that is needed, or contradicts an argument.
    """
    path = at_home(path)
    betas = None if betas is None else noise_table_of("betas", betas)
    content = _read(path)
    found = find_unet(content, path)
    if found is None:
        raise ValueError(refusal(content, path))
    check_kind(found, path)
    numbers, told = told_version(content, version, path), told_prediction(found)
    check_version(found, numbers, path)
    predicted = agreed_prediction(prediction, told, path)
    ask_for_missing(path, found, version=numbers, prediction=predicted, betas=betas, groups=groups)
    weights = float_weights(found.weights, path)
    names = _channels(weights, channels, path)
    try:
        network, dimensions = network_of(weights, numbers, groups or GROUPS)
    except (KeyError, IndexError, RuntimeError, ValueError, OverflowError) as error:
        raise unsupported(path, error) from None
    try:
        table = noise_table(found.buffers, betas, path)
        prior = wrap(
            network.to(device), prediction=predicted or "", channels=names, data_range=data_range,
            size=tuple(size or ()), multiple=network.stride, **table,
        )  # fmt: skip
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    disparity = "disparity" in names
    depth: dict[str, Any] = {"depth": "planar", "d_min": D_MIN if d_min is None else d_min} if disparity else {}
    assumed = _assumed(found, channels is None, disparity and d_min is None, is_grouped(weights) and groups is None)
    assumed += _unseen(weights)
    prior.card = dataclasses.replace(
        prior.card, name=path.stem, architecture="Unet of denoising-diffusion-pytorch", steps=_steps(content),
        network=prior.card.network | dimensions, assumed=(*prior.card.assumed, *assumed), **depth,
    )  # fmt: skip
    return prior


def _read(path: Path) -> Mapping[Any, Any]:
    if path.is_file() and path.stat().st_size and is_safetensors(path):
        return read_tensors(path)
    return read_content(path)


def _channels(weights: Mapping[str, Tensor], given: tuple[str, ...] | None, path: Path) -> tuple[str, ...]:
    """Channel names; the network may have twice as many inputs (self-conditioning) or outputs (learned variance)."""
    last = weights.get("final_conv.weight")
    if last is None:
        raise unsupported(path, KeyError("final_conv.weight"))
    inputs, outputs = weights["init_conv.weight"].shape[1], last.shape[0]
    count = len(given) if given else min(inputs, outputs)
    if (inputs, outputs) not in ((count, count), (2 * count, count), (count, 2 * count)):
        named = f", but {count} were named" if given else ", neither as many nor twice as many"
        raise ValueError(
            f"{path} holds a network with {inputs} channels in and {outputs} out{named}. Name those of the data, "
            "channels=(...); or wrap another kind of network with scorereg.wrap."
        )
    return channel_names(count, given or (RGBD if count == len(RGBD) else None), str(path))


def _steps(content: Mapping[Any, Any]) -> int:
    steps = content.get("step", content.get("global_step", 0))
    return steps if isinstance(steps, int) and steps >= 0 else 0


def _unseen(weights: Mapping[str, Tensor]) -> list[str]:
    """Sizes of the network that no tensor shows: the package's defaults."""
    heads = any(name.endswith(".to_qkv.weight") for name in weights) and not any("mem_kv" in name for name in weights)
    lines = [f"attention heads of {HEAD_WIDTH} channels, the package's default"] if heads else []
    return [*lines, "a time embedding with theta 10000, the package's default"]


def _assumed(found: FoundState, named: bool, depth: bool, grouped: bool) -> list[str]:
    where = f"`{found.where}`" if found.where else "the file's only ones"
    lines = [f"weights: {where}, {'averaged' if found.averaged else 'not averaged'}"]
    lines += [NAMED] if named else []
    lines += [f"disparity is 1 at {D_MIN:g} m, as in DiffusioNeRF: d_min= says otherwise"] if depth else []
    return lines + ([f"group norms of {GROUPS} groups: groups= says otherwise"] if grouped else [])
