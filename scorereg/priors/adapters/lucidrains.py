"""Checkpoints of `denoising-diffusion-pytorch` as priors: what its `Trainer` saves, of versions from 0.27 on.

The network's dimensions and the noise table are read from the tensors. What they do not show follows from the version,
which the file names from 1.0 on, and can be given for the older ones. The model of DiffusioNeRF (Wynn and
Turmukhambetov 2023, arXiv 2302.12231) is such a file, of version 0.27. No code in a file is ever run.
"""

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from scorereg.priors.adapters.lucidrains_unet import AttentionShape, Style, Unet
from scorereg.priors.adapters.wrapped import WrappedPrior, wrap

__all__ = ["is_lucidrains", "load_lucidrains"]

CHANNELS = {1: ("grey",), 3: ("r", "g", "b"), 4: ("r", "g", "b", "disparity")}
HEAD_WIDTH = 32  # the package's default, where no tensor shows it
FIRST_NAMED: tuple[int, ...] = (1, 0)
NEWEST_UNNAMED: tuple[int, ...] = (
    0,
    27,
    12,
)  # DiffusioNeRF's; of the versions that files do not name, those from 0.28 on differ

Prediction = Literal["epsilon", "sample", "v_prediction"]


def is_lucidrains(path: str | os.PathLike[str]) -> bool:
    """Say whether a file is a checkpoint of `denoising-diffusion-pytorch`; nothing in it is run."""
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
    """Load a checkpoint, with its averaged weights where it has them.

    A network that is conditioned on its own last estimate is given none, as in half of its training steps.

    Args:
        path: The file, such as `model-10.pt`.
        device: Where the weights go.
        channels: Channel names, in order. If not given: grey; r, g, b; or r, g, b, disparity, as in DiffusioNeRF.
        size: Spatial shape of a training patch, which no file says; that of DiffusioNeRF's model was (48, 48).
        d_min: Depth at which disparity is 1, in metres, where there is disparity; if not given, DiffusioNeRF's 0.2.
        data_range: What the data were scaled to in training; (0, 1) for `auto_normalize=False`.
        prediction: What the network predicts, if not what the file's loss weights say.
        version: Version of the package that wrote the file, for files older than 1.0, which do not say. If not given,
            0.27.12, whose network is DiffusioNeRF's; from 0.28 on attention was another.

    Raises:
        OSError: If the file is not there.
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
            f"{path} holds a network that is not understood ({type(error).__name__}: {line}). What is: the Unet for "
            "images, without learned Fourier features. Wrap another one with scorereg.wrap."
        ) from None
    prior = wrap(
        network.eval().requires_grad_(False).to(device),
        prediction=prediction or _prediction(state),
        betas=state["betas"].double(),  # float32 keeps more digits of these than of their products
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
        network={"kind": "Unet of denoising-diffusion-pytorch", **dimensions},
        steps=int(content.get("step", 0)),
    )
    return prior


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file. Name a checkpoint, such as model-10.pt.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and pickle have no common error for code, or for a damaged file
        code = re.search(r"GLOBAL (\S+)", str(error))
        line = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        if code or line.startswith("Weights only"):  # torch's advice is how to run it nevertheless
            line = f"it names {code[1]}" if code else "a pickle that torch refuses"
        raise ValueError(
            f"{path} is no readable checkpoint, or holds code, which is not run ({line}). Save it anew as tensors, "
            "numbers and text only."
        ) from None
    return content if isinstance(content, Mapping) else {}


def _state(content: Mapping[str, Any]) -> dict[str, Tensor] | None:
    """The diffusion's tensors by name, of the averaged weights if there are any; None for files of another kind."""
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
    """Names of the data's channels; there may be twice as many in (self-conditioning) or out (learned variance)."""
    inputs, outputs = weights["init_conv.weight"].shape[1], weights["final_conv.weight"].shape[0]
    count = len(given) if given else min(inputs, outputs)
    if inputs not in (count, 2 * count) or outputs not in (count, 2 * count):
        raise ValueError(
            f"{path} holds a network of {inputs} channels in and {outputs} out, but {count} were named. Name those of "
            "the data: channels=(...)."
        )
    names = given or CHANNELS.get(count)
    if names is None:
        raise ValueError(f"{path} has {count} channels and does not say which. Name them: channels=(...).")
    return tuple(names)


def _prediction(state: Mapping[str, Tensor]) -> Prediction:
    """Told by the weights of the loss: with r the ratio of signal to noise 1, r or r / (r + 1), where r is below 1.

    Files without these are of a time when noise was predicted unless asked otherwise.
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
    outside = any(".fn.fn." in name for name in weights)  # attention's norm lay outside of it, until 1.8
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
    """Told by the tensors where they differ, and by the version where only the computation does."""
    grouped = "mid_block1.block1.norm.weight" in weights
    unshuffled = "downs.0.3.weight" not in weights
    if not outside:
        return Style(centred=False, averaged=False, standardised=False, grouped=grouped, unshuffled=unshuffled)
    by = version or (FIRST_NAMED if unshuffled else NEWEST_UNNAMED)
    standardised = (0, 27, 3) <= by < (1, 7, 2)
    return Style(
        centred=by < (1, 7),
        averaged=by < (1, 7, 4),
        standardised=standardised,
        grouped=grouped,
        unshuffled=unshuffled,
        cosine=None if by >= (0, 28) else 10.0 if standardised else 16.0,
    )
