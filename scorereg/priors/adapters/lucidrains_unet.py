"""The U-Net of `denoising-diffusion-pytorch` in the variants of its versions, for inference.

Parameters have the package's names, so that a checkpoint's tensors load unchanged; `Style` holds the choices that the
tensors do not show. Sources: Ho et al. 2020 (U-Net and sinusoidal time), Salimans and Ho 2022, Shen et al. 2018
(linear attention), Qiao et al. 2019 (standardised weights), Zhang and Sennrich 2019 (RMS norm).
"""

import math
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["GROUPS", "AttentionShape", "Style", "Unet"]

GROUPS = 8


@dataclass(frozen=True)
class AttentionShape:
    """Shape of one attention block: full or linear, number and width of heads, learned keys and values."""

    full: bool
    heads: int
    width: int
    memory: int


@dataclass(frozen=True)
class Style:
    """Choices that differ between versions of the package.

    Args:
        centered: Attention normalises by mean and variance instead of RMS.
        averaged: Linear attention divides its values by the number of pixels.
        standardized: Weights of the 3x3 convolutions are normalised to mean 0 and variance 1.
        grouped: Blocks use group norm instead of RMS norm over channels.
        unshuffled: Resolution is halved by pixel unshuffle instead of a strided convolution.
        cosine: Factor of the cosine similarity in full attention; None for scaled dot products.
        groups: Groups of the group norm.
    """

    centered: bool
    averaged: bool
    standardized: bool
    grouped: bool
    unshuffled: bool
    cosine: float | None = None
    groups: int = GROUPS


class Unet(nn.Module):
    """A U-Net, called with noised samples and timesteps.

    Args:
        inputs: Input channels; twice the data's for a self-conditioned network.
        outputs: Output channels.
        widths: Channels of the first convolution, then of each stage.
        time: Width of the sinusoidal embedding, and of the layers after it.
        attention: Shapes of the attention blocks: one per stage, then the middle one.
        style: Choices of the version.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        widths: tuple[int, ...],
        time: tuple[int, int],
        attention: tuple[AttentionShape, ...],
        style: Style,
    ) -> None:
        super().__init__()
        first, last = widths[0], widths[-1]
        stages = list(zip(widths[:-1], widths[1:], attention[:-1], strict=True))
        self.inputs = inputs
        self.stride = 2 ** (len(stages) - 1)
        self.init_conv = nn.Conv2d(inputs, first, 7, padding=3)
        self.time_mlp = nn.Sequential(_Sinusoids(time[0]), nn.Linear(*time), nn.GELU(), nn.Linear(time[1], time[1]))
        self.downs = nn.ModuleList(
            nn.ModuleList(
                [
                    _Residual(a, a, time[1], style),
                    _Residual(a, a, time[1], style),
                    _Attention(a, kind, style),
                    nn.Conv2d(a, b, 3, padding=1) if i == len(stages) - 1 else _halve(a, b, style),
                ]
            )
            for i, (a, b, kind) in enumerate(stages)
        )
        self.mid_block1 = _Residual(last, last, time[1], style)
        self.mid_attn = _Attention(last, attention[-1], style)
        self.mid_block2 = _Residual(last, last, time[1], style)
        self.ups = nn.ModuleList(
            nn.ModuleList(
                [
                    _Residual(a + b, b, time[1], style),
                    _Residual(a + b, b, time[1], style),
                    _Attention(b, kind, style),
                    nn.Conv2d(b, a, 3, padding=1) if i == len(stages) - 1 else _double(b, a),
                ]
            )
            for i, (a, b, kind) in enumerate(reversed(stages))
        )
        self.final_res_block = _Residual(2 * first, first, time[1], style)
        self.final_conv = nn.Conv2d(first, outputs, 1)

    def forward(self, x: Float[Tensor, "b c h w"], time: Tensor) -> Float[Tensor, "b d h w"]:
        """Return the prediction for sides that are multiples of `stride`, with 0 for a self-conditioned estimate."""
        if self.inputs > x.shape[1]:
            x = torch.cat([x.new_zeros(len(x), self.inputs - x.shape[1], *x.shape[2:]), x], 1)
        first = x = self.init_conv(x)
        t = self.time_mlp(time)
        kept = []
        for one, two, attend, smaller in self.downs:  # pyright: ignore[reportGeneralTypeIssues]
            x = one(x, t)
            kept.append(x)
            x = two(x, t)
            x = x + attend(x)
            kept.append(x)
            x = smaller(x)
        x = self.mid_block1(x, t)
        x = self.mid_block2(x + self.mid_attn(x), t)
        for one, two, attend, larger in self.ups:  # pyright: ignore[reportGeneralTypeIssues]
            x = one(torch.cat([x, kept.pop()], 1), t)
            x = two(torch.cat([x, kept.pop()], 1), t)
            x = larger(x + attend(x))
        return self.final_conv(self.final_res_block(torch.cat([x, first], 1), t))


class _Sinusoids(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.pairs = width // 2

    def forward(self, time: Tensor) -> Tensor:
        rate = torch.exp(torch.arange(self.pairs, device=time.device) * -(math.log(10_000) / (self.pairs - 1)))
        angle = time[:, None].to(rate.dtype) * rate
        return torch.cat([angle.sin(), angle.cos()], 1)


class _Residual(nn.Module):
    def __init__(self, inside: int, outside: int, time: int, style: Style) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(time, 2 * outside))
        self.block1 = _Block(inside, outside, style)
        self.block2 = _Block(outside, outside, style)
        self.res_conv = nn.Identity() if inside == outside else nn.Conv2d(inside, outside, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        scale, shift = self.mlp(time)[..., None, None].chunk(2, dim=1)
        return self.block2(self.block1(x, scale, shift)) + self.res_conv(x)


class _Block(nn.Module):
    def __init__(self, inside: int, outside: int, style: Style) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inside, outside, 3, padding=1)
        self.norm = nn.GroupNorm(style.groups, outside) if style.grouped else _Norm(outside, centered=False)
        self.standardized = style.standardized

    def forward(self, x: Tensor, scale: Tensor | float = 0.0, shift: Tensor | float = 0.0) -> Tensor:
        weight = self.proj.weight
        if self.standardized:
            variance, mean = torch.var_mean(weight, dim=(1, 2, 3), correction=0, keepdim=True)
            weight = (weight - mean) * (variance + 1e-5).rsqrt()
        x = self.norm(functional.conv2d(x, weight, self.proj.bias, padding=1))
        return functional.silu(x * (1 + scale) + shift)


class _Norm(nn.Module):
    """Layer norm or RMS norm over the channels of each pixel."""

    def __init__(self, width: int, *, centered: bool) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(1, width, 1, 1))
        self.centered = centered

    def forward(self, x: Tensor) -> Tensor:
        if self.centered:
            variance, mean = torch.var_mean(x, dim=1, correction=0, keepdim=True)
            return (x - mean) * (variance + 1e-5).rsqrt() * self.g
        return functional.normalize(x, dim=1) * self.g * x.shape[1] ** 0.5


class _Attention(nn.Module):
    """Full or linear attention between pixels, with optional learned keys and values."""

    def __init__(self, width: int, kind: AttentionShape, style: Style) -> None:
        super().__init__()
        self.kind, self.style = kind, style
        inside = kind.heads * kind.width
        self.norm = _Norm(width, centered=style.centered)
        self.to_qkv = nn.Conv2d(width, 3 * inside, 1, bias=False)
        if kind.full:
            self.to_out = nn.Conv2d(inside, width, 1)
        else:
            self.to_out = nn.Sequential(nn.Conv2d(inside, width, 1), _Norm(width, centered=style.centered))
        if kind.memory:
            tail = (kind.memory, kind.width) if kind.full else (kind.width, kind.memory)
            self.mem_kv = nn.Parameter(torch.zeros(2, kind.heads, *tail))

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        qkv = self.to_qkv(self.norm(x))
        q, k, v = rearrange(qkv, "b (three h d) y x -> three b h (y x) d", three=3, d=self.kind.width)
        v = v / (height * width) if self.style.averaged and not self.kind.full else v
        if self.kind.memory:
            memory = self.mem_kv if self.kind.full else self.mem_kv.transpose(2, 3)
            mk, mv = memory[:, None].expand(-1, len(x), -1, -1, -1)
            k, v = torch.cat([mk, k], 2), torch.cat([mv, v], 2)
        out = self._full(q, k, v) if self.kind.full else _linear(q, k, v)
        return self.to_out(rearrange(out, "b h (y x) d -> b (h d) y x", y=height))

    def _full(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if self.style.cosine is None:
            return functional.scaled_dot_product_attention(q, k, v)
        q, k = (functional.normalize(part, dim=2) for part in (q, k))  # over the pixels, as in these versions
        return functional.scaled_dot_product_attention(q, k, v, scale=self.style.cosine)


def _linear(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    context = k.softmax(dim=2).transpose(2, 3) @ v
    return q.softmax(dim=3) * q.shape[3] ** -0.5 @ context


def _halve(inside: int, outside: int, style: Style) -> nn.Module:
    if style.unshuffled:
        return nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * inside, outside, 1))
    return nn.Conv2d(inside, outside, 4, stride=2, padding=1)


def _double(inside: int, outside: int) -> nn.Module:
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(inside, outside, 3, padding=1))
