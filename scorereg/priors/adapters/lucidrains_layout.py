"""The U-Net of a checkpoint of denoising-diffusion-pytorch, out of its tensors and the version that wrote them."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from scorereg.priors.adapters.lucidrains_unet import GROUPS, AttentionShape, Style, Unet

__all__ = ["HEAD_WIDTH", "is_grouped", "needs_version", "network_of", "version_numbers", "widths_of"]

HEAD_WIDTH = 32  # the package's default, used if no tensor shows the width
_NORM = "mid_block1.block1.norm.weight"


def network_of(
    weights: Mapping[str, Tensor], version: tuple[int, ...], groups: int = GROUPS
) -> tuple[Unet, dict[str, Any]]:
    """Return the network with its weights, and its dimensions for the card.

    Args:
        weights: Tensors by the network's names, float32.
        version: Version that wrote them; it matters only if `needs_version`.
        groups: Groups of the group norm.

    Raises:
        KeyError, IndexError, RuntimeError, ValueError: If the tensors are not those of the package's U-Net for images.
    """
    outside = needs_version(weights)
    plain = {name.replace(".fn.fn.", ".").replace(".fn.norm.", ".norm."): value for name, value in weights.items()}
    widths = widths_of(plain)
    time, inside = plain["time_mlp.1.weight"].shape
    stages = [f"downs.{i}.2" for i in range(len(widths) - 1)]
    with torch.device("meta"):  # memory comes with the weights
        network = Unet(
            plain["init_conv.weight"].shape[1],
            plain["final_conv.weight"].shape[0],
            widths=widths,
            time=(inside, time),
            attention=tuple(_attention(plain, name) for name in (*stages, "mid_attn")),
            style=_style(plain, outside, version, groups),
        )
    network.load_state_dict({name: value for name, value in plain.items() if value.numel()}, assign=True)
    dim = time // 4
    return network.eval().requires_grad_(False), {"dim": dim, "mults": [width // dim for width in widths[1:]]}


def widths_of(weights: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Return the channels of the first convolution and of each stage."""
    stages = len({name.split(".")[1] for name in weights if name.startswith("downs.")})
    inside = [weights[f"downs.{i}.0.block1.proj.weight"].shape[1] for i in range(stages)]
    return (*inside, weights["mid_block1.block1.proj.weight"].shape[1])


def needs_version(weights: Mapping[str, Tensor]) -> bool:
    """Return whether the tensors leave open how attention works: until 1.8 its norm was a module around it."""
    return any(".fn.fn." in name for name in weights)


def is_grouped(weights: Mapping[str, Tensor]) -> bool:
    """Return whether blocks use group norm, whose number of groups no tensor shows."""
    return _NORM in weights


def version_numbers(version: Any) -> tuple[int, ...]:
    """Return a version as numbers, `(1, 4, 0)` of "1.4.0"; empty for anything else."""
    found = re.match(r"\d+(\.\d+)+", version) if isinstance(version, str) and len(version) < 30 else None
    return tuple(map(int, found[0].split("."))) if found else ()


def _attention(weights: Mapping[str, Tensor], name: str) -> AttentionShape:
    full = f"{name}.to_out.weight" in weights
    learned = weights.get(f"{name}.mem_kv")
    if learned is None:
        inside = weights[f"{name}.to_qkv.weight"].shape[0] // 3
        return AttentionShape(full, inside // HEAD_WIDTH, HEAD_WIDTH, 0)
    _, heads, first, second = learned.shape
    return AttentionShape(full, heads, second, first) if full else AttentionShape(full, heads, first, second)


def _style(weights: Mapping[str, Tensor], outside: bool, version: tuple[int, ...], groups: int) -> Style:
    """Choices of the network: from the tensors where they differ, else from the version."""
    common = {"grouped": is_grouped(weights), "unshuffled": "downs.0.3.weight" not in weights, "groups": groups}
    if not outside:
        return Style(centered=False, averaged=False, standardized=False, **common)
    standardized = (0, 27, 3) <= version < (1, 7, 2)
    return Style(
        centered=version < (1, 7),
        averaged=version < (1, 7, 4),
        standardized=standardized,
        cosine=None if version >= (0, 28) else 10.0 if standardized else 16.0,
        **common,
    )
