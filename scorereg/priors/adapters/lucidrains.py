"""Checkpoints of `denoising-diffusion-pytorch` (its `Trainer`, versions 0.27 and later) as priors.

Dimensions of the network and the noise table are read from the tensors; other choices follow from the version, which
files name from 1.0 on. The model of DiffusioNeRF (Wynn and Turmukhambetov 2023, arXiv 2302.12231) is such a file, of
version 0.27. No code in a file is run.
"""

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from scorereg.priors.adapters.diffusers import channel_names
from scorereg.priors.adapters.lucidrains_unet import AttentionShape, Style, Unet
from scorereg.priors.adapters.wrapped import WrappedPrior, wrap

__all__ = ["is_lucidrains", "load_lucidrains"]

RGBD = ("r", "g", "b", "disparity")
HEAD_WIDTH = 32  # the package's default, used if no tensor shows the width
FIRST_NAMED: tuple[int, ...] = (1, 0)
OLDEST: tuple[int, ...] = (0, 27, 12)  # DiffusioNeRF's; versions from 0.28 to 1.0 are not named in files and differ

Prediction = Literal["epsilon", "sample", "v_prediction"]


def is_lucidrains(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is a checkpoint of `denoising-diffusion-pytorch`; no code in it is run."""
    try:
        return _state(_read(Path(path))) is not None
    except (ValueError, OSError):
        return False


def load_lucidrains(
    path: str | os.PathLike[str],
    device: str | torch.device = "cpu",
    *,
    channels: tuple[str, ...] | None = None,
    size: tuple[int, ...] = (),
    d_min: float | None = None,
    data_range: tuple[float | int, float | int] = (-1.0, 1.0),
    prediction: Prediction | None = None,
    version: str | None = None,
) -> WrappedPrior:
    """Load a checkpoint, with its averaged weights if it has them.

    A self-conditioned network gets no estimate as input, as in half of its training steps.

    Args:
        path: The file, such as `model-10.pt`.
        device: Device of the weights.
        channels: Channel names, in order. Default by their number: gray; r, g, b; r, g, b, disparity (DiffusioNeRF).
        size: Spatial shape of a training patch, which the file does not have; DiffusioNeRF's model has (48, 48).
        d_min: Depth at which disparity is 1, in metres, if there is disparity; by default DiffusioNeRF's 0.2.
        data_range: Range of the data in training; (0, 1) for `auto_normalize=False`.
        prediction: Prediction target; by default the one that the file's loss weights imply.
        version: Version of the package that wrote the file, for files older than 1.0, which do not name it. Default
            0.27.12, the version of DiffusioNeRF; attention differs from 0.28 on.

    Raises:
        OSError: If there is no such file.
        ValueError: If it holds code, is no checkpoint of a `GaussianDiffusion` with a `Unet`, or has other channels.
    """
    path = Path(path)
    content = _read(path)
    state = _state(content)
    if state is None:
        raise ValueError(
            f"{path} is no checkpoint of denoising-diffusion-pytorch: expected are `model` and `ema` as its Trainer "
            "saves them, of a GaussianDiffusion with a Unet. Wrap another network with scorereg.wrap."
        )
    weights = {name.removeprefix("model."): value.float() for name, value in state.items() if name.startswith("model.")}
    names = _channels(weights, channels, path)
    try:
        network, dimensions = _network(weights, _numbers(version or content.get("version")))
    except (KeyError, IndexError, RuntimeError) as error:
        line = (str(error).strip().splitlines() or [""])[-1].strip()[:160]
        raise ValueError(
            f"{path} holds a network that is not supported ({type(error).__name__}: {line}). Supported is the Unet for "
            "images, without learned Fourier features. Wrap another one with scorereg.wrap."
        ) from None
    prior = wrap(
        network.eval().requires_grad_(False).to(device),
        prediction=prediction or _prediction(state),
        betas=state["betas"].double(),  # the file's float32 products have fewer digits
        channels=names,
        data_range=data_range,
        size=tuple(size),
    )
    depth = "disparity" in names
    prior.card = dataclasses.replace(
        prior.card,
        name=path.stem,
        depth="planar" if depth else None,
        d_min=(0.2 if d_min is None else d_min) if depth else None,
        architecture="Unet of denoising-diffusion-pytorch",
        network=dimensions,
        steps=int(content.get("step", 0)),
    )
    return prior


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file. Name a checkpoint, such as model-10.pt.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and pickle have no common type of error
        code = re.search(r"GLOBAL (\S+)", str(error))
        line = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        if code or line.startswith("Weights only"):  # replaces torch's advice on how to run the code
            line = f"it names {code[1]}" if code else "a pickle that torch refuses"
        raise ValueError(
            f"{path} is no readable checkpoint, or holds code, which is not run ({line}). Save it again as tensors, "
            "numbers and text only."
        ) from None
    return content if isinstance(content, Mapping) else {}


def _state(content: Mapping[str, Any]) -> dict[str, Tensor] | None:
    """Tensors of the diffusion by name, with averaged weights if there are any; None for files of another kind."""
    averaged, plain = content.get("ema"), content.get("model")
    if isinstance(averaged, Mapping):
        start = "ema_model."
        state = {name.removeprefix(start): value for name, value in averaged.items() if name.startswith(start)}
        if _complete(state):
            return state
    return dict(plain) if isinstance(plain, Mapping) and _complete(plain) else None


def _complete(state: Mapping[str, Any]) -> bool:
    return {"betas", "alphas_cumprod", "model.init_conv.weight", "model.final_conv.weight"} <= set(state)


def _channels(weights: Mapping[str, Tensor], given: tuple[str, ...] | None, path: Path) -> tuple[str, ...]:
    """Channel names; the network may have twice as many inputs (self-conditioning) or outputs (learned variance)."""
    inputs, outputs = weights["init_conv.weight"].shape[1], weights["final_conv.weight"].shape[0]
    count = len(given) if given else min(inputs, outputs)
    if inputs not in (count, 2 * count) or outputs not in (count, 2 * count):
        raise ValueError(
            f"{path} holds a network with {inputs} channels in and {outputs} out, but {count} were named. Name those "
            "of the data: channels=(...)."
        )
    return channel_names(count, given or (RGBD if count == len(RGBD) else None), str(path))


def _prediction(state: Mapping[str, Tensor]) -> Prediction:
    """Prediction target, from the loss weights of the file: 1, r or r / (r + 1) with r the signal-to-noise ratio.

    Compared at r = 0.5, where they differ. Files without loss weights are of versions whose default is the noise.
    """
    if "loss_weight" not in state:
        return "epsilon"
    ratio = state["alphas_cumprod"].double() / (1 - state["alphas_cumprod"].double())
    at = int((ratio - 0.5).abs().argmin())
    weight, r = state["loss_weight"][at].item(), ratio[at].item()
    expected: dict[Prediction, float] = {"epsilon": 1.0, "sample": r, "v_prediction": r / (r + 1)}
    return min(expected, key=lambda kind: abs(expected[kind] - weight))


def _numbers(version: Any) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version))) if isinstance(version, str) else ()


def _network(weights: dict[str, Tensor], version: tuple[int, ...]) -> tuple[Unet, dict[str, Any]]:
    """The network with its weights, and its dimensions for the card."""
    outside = any(".fn.fn." in name for name in weights)  # until 1.8 the norm of attention was a module around it
    weights = {name.replace(".fn.fn.", ".").replace(".fn.norm.", ".norm."): value for name, value in weights.items()}
    stages = len({name.split(".")[1] for name in weights if name.startswith("downs.")})
    widths = [weights[f"downs.{i}.0.block1.proj.weight"].shape[1] for i in range(stages)]
    widths.append(weights["mid_block1.block1.proj.weight"].shape[1])
    time, inside = weights["time_mlp.1.weight"].shape
    network = Unet(
        weights["init_conv.weight"].shape[1],
        weights["final_conv.weight"].shape[0],
        widths=tuple(widths),
        time=(inside, time),
        attention=tuple(_attention(weights, name) for name in (*(f"downs.{i}.2" for i in range(stages)), "mid_attn")),
        style=_style(weights, outside, version),
    )
    network.load_state_dict(weights)
    dim = time // 4
    return network, {"dim": dim, "mults": [width // dim for width in widths[1:]]}


def _attention(weights: Mapping[str, Tensor], name: str) -> AttentionShape:
    full = f"{name}.to_out.weight" in weights
    learned = weights.get(f"{name}.mem_kv")
    if learned is None:
        inside = weights[f"{name}.to_qkv.weight"].shape[0] // 3
        return AttentionShape(full, inside // HEAD_WIDTH, HEAD_WIDTH, 0)
    _, heads, first, second = learned.shape
    return AttentionShape(full, heads, second, first) if full else AttentionShape(full, heads, first, second)


def _style(weights: Mapping[str, Tensor], outside: bool, version: tuple[int, ...]) -> Style:
    """Choices of the network: from the tensors where they differ, else from the version."""
    grouped = "mid_block1.block1.norm.weight" in weights
    unshuffled = "downs.0.3.weight" not in weights
    if not outside:
        return Style(centered=False, averaged=False, standardized=False, grouped=grouped, unshuffled=unshuffled)
    by = version or (FIRST_NAMED if unshuffled else OLDEST)
    standardized = (0, 27, 3) <= by < (1, 7, 2)
    return Style(
        centered=by < (1, 7),
        averaged=by < (1, 7, 4),
        standardized=standardized,
        grouped=grouped,
        unshuffled=unshuffled,
        cosine=None if by >= (0, 28) else 10.0 if standardized else 16.0,
    )
