r"""A small unconditional U-Net for one, two or three spatial dimensions; diffusers has one for two.

Residual blocks (group norm, SiLU, convolution, twice) whose second norm is scaled and shifted by the noise level
(Dhariwal and Nichol 2021, arXiv 2105.05233, section 3); strided convolutions down; nearest-neighbour upsampling and a
convolution up; skips by concatenation; optional self-attention at the lowest level. Called like diffusers' models:
`network(x, c_noise, return_dict=False)[0]`.
"""

import json
import math
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

__all__ = ["UNetND"]

_CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_HEAD = 32


class UNetND(nn.Module):
    """U-Net with an initial output of 0.

    Args:
        dimensions: Spatial dimensions: 1, 2 or 3.
        in_channels: Channels in.
        out_channels: Channels out; as many as in, if not given.
        block_out_channels: Channels of each level; each level halves the sides of the one before.
        layers_per_block: Residual blocks per level on the way down; one more on the way up.
        add_attention: Self-attention at the lowest level.
        norm_num_groups: Groups of each group norm.
    """

    def __init__(
        self,
        *,
        dimensions: int,
        in_channels: int,
        block_out_channels: tuple[int, ...],
        layers_per_block: int = 1,
        add_attention: bool = False,
        norm_num_groups: int = 8,
        out_channels: int | None = None,
    ) -> None:
        super().__init__()
        out_channels = in_channels if out_channels is None else out_channels
        self.config: dict[str, Any] = {
            "dimensions": dimensions,
            "in_channels": in_channels,
            "block_out_channels": list(block_out_channels),
            "layers_per_block": layers_per_block,
            "add_attention": add_attention,
            "norm_num_groups": norm_num_groups,
            **({} if out_channels == in_channels else {"out_channels": out_channels}),
        }
        self.checkpointing = False
        first, last = block_out_channels[0], block_out_channels[-1]
        conv, embedding = _CONVOLUTIONS[dimensions], 4 * first
        self.time = nn.Sequential(nn.Linear(first, embedding), nn.SiLU(), nn.Linear(embedding, embedding))

        def block(inside: int, outside: int) -> ResidualBlock:
            return ResidualBlock(conv, inside, outside, embedding, norm_num_groups)

        self.conv_in = conv(in_channels, first, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        skips, width = [first], first
        for level, wide in enumerate(block_out_channels):
            blocks = nn.ModuleList()
            for _ in range(layers_per_block):
                blocks.append(block(width, wide))
                width = wide
                skips.append(width)
            lowest = level == len(block_out_channels) - 1
            halve = nn.Identity() if lowest else conv(width, width, 3, stride=2, padding=1)
            self.down.append(nn.ModuleDict({"blocks": blocks, "resize": halve}))
            if not lowest:
                skips.append(width)
        self.middle = nn.ModuleList([block(last, last), block(last, last)])
        self.attention = Attention(last, norm_num_groups) if add_attention else nn.Identity()
        for level, wide in reversed(list(enumerate(block_out_channels))):
            blocks = nn.ModuleList()
            for _ in range(layers_per_block + 1):
                blocks.append(block(width + skips.pop(), wide))
                width = wide
            double = conv(width, width, 3, padding=1) if level else nn.Identity()
            self.up.append(nn.ModuleDict({"blocks": blocks, "resize": double}))
        self.norm_out = nn.GroupNorm(norm_num_groups, first)
        self.conv_out = conv(first, out_channels, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)  # pyright: ignore[reportArgumentType]  # it has one

    def forward(
        self, x: Float[Tensor, "b c *space"], noise: Float[Tensor, " b"], return_dict: bool = False
    ) -> tuple[Float[Tensor, "b o *space"]]:
        """Return a tuple with the prediction; `return_dict` exists for diffusers' signature and must be False."""
        embedding = self.time(_features(noise, self.config["block_out_channels"][0]).to(x.dtype))
        x = self.conv_in(x)
        kept = [x]
        for level, part in enumerate(self.down):
            for block in part["blocks"]:  # pyright: ignore[reportIndexIssue, reportGeneralTypeIssues]
                x = self._run(block, x, embedding)
                kept.append(x)
            if level < len(self.down) - 1:
                x = part["resize"](x)  # pyright: ignore[reportIndexIssue]
                kept.append(x)
        x = self._run(self.middle[0], x, embedding)
        x = self._run(self.middle[1], self.attention(x), embedding)
        for level, part in enumerate(self.up):
            for block in part["blocks"]:  # pyright: ignore[reportIndexIssue, reportGeneralTypeIssues]
                x = self._run(block, torch.cat([x, kept.pop()], 1), embedding)
            if level < len(self.up) - 1:
                x = part["resize"](functional.interpolate(x, scale_factor=2.0))  # pyright: ignore[reportIndexIssue]
        return (self.conv_out(functional.silu(self.norm_out(x))),)

    def _run(self, block: nn.Module, x: Tensor, embedding: Tensor) -> Tensor:
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(block, x, embedding, use_reentrant=False)  # pyright: ignore[reportReturnType]
        return block(x, embedding)

    def enable_gradient_checkpointing(self) -> None:
        """Recompute the activations inside blocks in the backward pass instead of storing them."""
        self.checkpointing = True

    def save_config(self, folder: Path) -> None:
        """Write `config.json` with the constructor's arguments."""
        text = json.dumps({"_class_name": "UNetND", **self.config}, indent=2) + "\n"
        (folder / "config.json").write_text(text, encoding="utf-8")


class ResidualBlock(nn.Module):
    """`skip(x) + f(x, level)`, with f = 0 at initialisation."""

    def __init__(self, conv: Any, inside: int, outside: int, embedding: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inside)
        self.conv1 = conv(inside, outside, 3, padding=1)
        self.level = nn.Linear(embedding, 2 * outside)
        self.norm2 = nn.GroupNorm(groups, outside)
        self.conv2 = conv(outside, outside, 3, padding=1)
        self.skip = conv(inside, outside, 1) if inside != outside else nn.Identity()
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x: Float[Tensor, "b i *space"], embedding: Float[Tensor, "b t"]) -> Float[Tensor, "b o *space"]:
        """Return the block's output."""
        out = self.conv1(functional.silu(self.norm1(x)))
        scale, shift = self.level(functional.silu(embedding)).reshape(len(x), -1, *[1] * (x.ndim - 2)).chunk(2, 1)
        out = self.norm2(out) * (1 + scale) + shift
        return self.skip(x) + self.conv2(functional.silu(out))


class Attention(nn.Module):
    """Self-attention over all positions, with a residual; the identity at initialisation."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.heads = max(channels // _HEAD, 1)
        self.norm = nn.GroupNorm(groups, channels)
        self.into = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *space"]:
        """Return `x` plus the attention's output."""
        flat = rearrange(self.norm(x).flatten(2), "b c n -> b n c")
        q, k, v = rearrange(self.into(flat), "b n (three h d) -> three b h n d", three=3, h=self.heads)
        seen = rearrange(functional.scaled_dot_product_attention(q, k, v), "b h n d -> b n (h d)")
        return x + rearrange(self.out(seen), "b n c -> b c n").reshape(x.shape)


def _features(noise: Float[Tensor, " b"], count: int) -> Float[Tensor, "b {count}"]:
    """Sines and cosines of the level, whose values ln(sigma) / 4 span 1 or 2, at frequencies from 1 to 1000."""
    half = count // 2
    frequency = torch.exp(torch.linspace(0, math.log(1000.0), half, device=noise.device))
    angle = noise.to(torch.float32)[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], 1)
