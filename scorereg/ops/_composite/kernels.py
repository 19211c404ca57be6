"""Triton kernels of `composite`: one program per ray, which loops over pieces of BLOCK samples.

The sums over earlier pieces (optical depth, weights, distances) are carried along. Distances come from running sums of
terms that are not negative,

    Q_j = sum_{i<j} w_i (m_j - m_i) = sum_{k<=j} gap_k B_k

with B_k the sum of the weights before k and gap_k the distance of the middles k - 1 and k; distortion is
sum_j w_j (2 Q_j + w_j delta_j / 3).

Backward computes the weights again, in two passes over the ray: the first sums g_i w_i, the second computes

    dL/dtau_k = g_k T'_k - sum_{i>k} g_i w_i,   f_i = f_0 + sum_{k<=i} gap_k (2 B_k - W)

(letters as in `eager`). The forward pass keeps W and f_0, two numbers a ray. Offsets are int64.
"""

import math
from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from scorereg.ops._composite.eager import Colors, Samples

__all__ = ["composite_triton"]

_BLOCK = 256  # samples at a time: few rays are longer, and two samples a lane of some ten values fit into registers


def composite_triton(
    tau: Samples, rgb: Colors, depth: Samples, starts: Samples, ends: Samples, offsets: Int[Tensor, " bounds"] | None
) -> tuple[Tensor, ...]:
    """`composite_dense` by kernels, of dense rays or, with `offsets`, of packed ones."""
    rays = tau.shape[:-1] if offsets is None else (len(offsets) - 1,)
    offsets = None if offsets is None else offsets.contiguous()
    weights, color, *sums = _Composite.apply(*(x.contiguous() for x in (tau, rgb, depth, starts, ends)), offsets)
    return weights, color.reshape(*rays, rgb.shape[-1]), *(x.reshape(rays) for x in sums)


class _Composite(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tau, rgb, depth, starts, ends, offsets):
        rays = math.prod(tau.shape[:-1]) if offsets is None else len(offsets) - 1
        weights = torch.empty_like(tau)
        color = torch.empty(rays, rgb.shape[-1], device=tau.device)
        sums = [torch.empty(rays, device=tau.device) for _ in range(5)]
        given = (tau, rgb, depth, starts, ends)
        if rays:
            _launch(_forward, rays, *given, offsets, weights, color, *sums, *_sizes(tau, rgb, offsets))
        *outputs, first = sums
        ctx.save_for_backward(*given, offsets, outputs[2], first)
        ctx.set_materialize_grads(False)
        return weights, color, *outputs

    @staticmethod
    @once_differentiable
    def backward(ctx, gw, *grads):  # pyright: ignore[reportIncompatibleMethodOverride]
        *given, offsets, opacity, first = ctx.saved_tensors
        out = [torch.empty_like(x) for x in given]
        if len(opacity):
            shapes = [(len(opacity), given[1].shape[-1])] + 4 * [(len(opacity),)]
            grads = [
                torch.zeros(shape, device=opacity.device) if g is None else g.contiguous()
                for g, shape in zip(grads, shapes, strict=True)
            ]
            sizes = _sizes(given[0], given[1], offsets)
            gw = None if gw is None else gw.contiguous()
            _launch(_backward, len(opacity), *given, offsets, opacity, first, gw, *grads, *out, *sizes)
        return *out, None


def _sizes(tau: Tensor, rgb: Tensor, offsets: Tensor | None) -> tuple[int, int, int, int]:
    """Samples of a dense ray, channels, channels up to a power of two, and samples at a time."""
    samples = tau.shape[-1] if offsets is None else 0
    block = _BLOCK if offsets is not None else min(triton.next_power_of_2(max(samples, 16)), _BLOCK)
    return samples, rgb.shape[-1], triton.next_power_of_2(max(rgb.shape[-1], 1)), block


def _launch(kernel, rays: int, *given) -> None:
    """Launch with a warp for every 64 samples, two a lane; the last argument is BLOCK."""
    kernel[(rays,)](*given, num_warps=max(given[-1] // 64, 1))


@no_type_check
@triton.jit
def _span(ray, offset_ptr, samples):
    """First sample of a ray and the one after its last, as int64."""
    if offset_ptr is None:
        first = ray * samples
        last = first + samples
    else:
        first = tl.load(offset_ptr + ray).to(tl.int64)
        last = tl.load(offset_ptr + ray + 1).to(tl.int64)
    return first, last


@no_type_check
@triton.jit
def _load(ptr, i, mask):
    return tl.load(ptr + i, mask=mask, other=0.0).to(tl.float32)


@no_type_check
@triton.jit
def _weigh(tau_ptr, begin, i, inside, passed):
    """Weights [BLOCK], optical depth through each sample [BLOCK], and of all samples up to here."""
    tau = _load(tau_ptr, i, inside)
    # the running sum of the samples before, not of all minus the own: that would round the fog before a wall away
    before = passed + tl.cumsum(_load(tau_ptr, i - 1, inside & (i > begin)), 0)
    w = tl.exp(-before) * _one_minus_exp(tau)
    return w, before + tau, passed + tl.sum(tau, 0)


@no_type_check
@triton.jit
def _one_minus_exp(x):
    """1 - exp(-x) for x >= 0; the series where the difference would lose digits."""
    series = x * (1 - x * (0.5 - x * (1 / 6 - x * (1 / 24 - x * (1 / 120)))))
    return tl.where(x < 0.1, series, 1 - tl.exp(-x))


@no_type_check
@triton.jit
def _interval(start_ptr, end_ptr, i, first, inside):
    """Distance from the previous middle [BLOCK], 0 for a ray's first sample, and length [BLOCK]."""
    start, end = _load(start_ptr, i, inside), _load(end_ptr, i, inside)
    later = inside & (i > first)
    gap = (start - _load(start_ptr, i - 1, later) + end - _load(end_ptr, i - 1, later)) / 2
    return tl.where(later, gap, 0.0), end - start


@no_type_check
@triton.jit
def _forward(
    tau_ptr, rgb_ptr, depth_ptr, start_ptr, end_ptr, offset_ptr,
    w_ptr, rgb_sum_ptr, depth_sum_ptr, inverse_sum_ptr, opacity_ptr, spread_ptr, first_ptr,
    samples, C: tl.constexpr, CP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    ray = tl.program_id(0).to(tl.int64)
    first, last = _span(ray, offset_ptr, samples)
    c = tl.arange(0, CP)
    color = tl.zeros([CP], tl.float32)
    passed, weight, far, depth_sum, inverse_sum, spread, way, first_sum = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for piece in range(0, last - first, BLOCK):
        begin = first + piece
        i = begin + tl.arange(0, BLOCK)
        inside = i < last
        w, _, passed = _weigh(tau_ptr, begin, i, inside, passed)
        gap, length = _interval(start_ptr, end_ptr, i, first, inside)
        tl.store(w_ptr + i, w, mask=inside)
        before = weight + tl.cumsum(w, 0) - w
        steps = gap * before
        distance = far + tl.cumsum(steps, 0)
        spread += tl.sum(w * (2 * distance + w * length / 3), 0)
        first_sum += tl.sum(w * (way + tl.cumsum(gap, 0)), 0)
        t = tl.load(depth_ptr + i, mask=inside, other=1.0).to(tl.float32)
        depth_sum += tl.sum(w * t, 0)
        inverse_sum += tl.sum(w / t, 0)
        both = inside[:, None] & (c < C)[None, :]
        rgb = tl.load(rgb_ptr + i[:, None] * C + c[None, :], mask=both, other=0.0).to(tl.float32)  # [BLOCK, CP]
        color += tl.sum(w[:, None] * rgb, 0)
        weight += tl.sum(w, 0)
        far += tl.sum(steps, 0)
        way += tl.sum(gap, 0)
    tl.store(rgb_sum_ptr + ray * C + c, color, mask=c < C)
    tl.store(depth_sum_ptr + ray, depth_sum)
    tl.store(inverse_sum_ptr + ray, inverse_sum)
    tl.store(opacity_ptr + ray, weight)
    tl.store(spread_ptr + ray, spread)
    tl.store(first_ptr + ray, first_sum)


@no_type_check
@triton.jit
def _pull(
    tau_ptr, rgb_ptr, depth_ptr, start_ptr, end_ptr, gw_ptr, begin, i, inside, first, opacity,
    passed, weight, bent, g_rgb, g_depth, g_inverse, g_opacity, g_spread, C: tl.constexpr, CP: tl.constexpr,
):  # fmt: skip
    """Gradient to the weights of a piece and its intermediate values; carries passed, weight and bent."""
    w, through, passed = _weigh(tau_ptr, begin, i, inside, passed)
    gap, length = _interval(start_ptr, end_ptr, i, first, inside)
    before = weight + tl.cumsum(w, 0) - w
    steps = gap * (2 * before - opacity)
    f = bent + tl.cumsum(steps, 0)
    t = tl.load(depth_ptr + i, mask=inside, other=1.0).to(tl.float32)
    c = tl.arange(0, CP)
    both = inside[:, None] & (c < C)[None, :]
    rgb = tl.load(rgb_ptr + i[:, None] * C + c[None, :], mask=both, other=0.0).to(tl.float32)
    g = tl.sum(rgb * g_rgb[None, :], 1) + g_depth * t + g_inverse / t + g_opacity
    g += g_spread * (2 * f + 2 * w * length / 3)
    if gw_ptr is not None:
        g += _load(gw_ptr, i, inside)
    return g, w, through, t, before, passed, weight + tl.sum(w, 0), bent + tl.sum(steps, 0)


@no_type_check
@triton.jit
def _backward(
    tau_ptr, rgb_ptr, depth_ptr, start_ptr, end_ptr, offset_ptr, opacity_ptr, first_ptr,
    gw_ptr, g_rgb_ptr, g_depth_ptr, g_inverse_ptr, g_opacity_ptr, g_spread_ptr,
    dtau_ptr, drgb_ptr, ddepth_ptr, dstart_ptr, dend_ptr,
    samples, C: tl.constexpr, CP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    ray = tl.program_id(0).to(tl.int64)
    first, last = _span(ray, offset_ptr, samples)
    c = tl.arange(0, CP)
    g_rgb = tl.load(g_rgb_ptr + ray * C + c, mask=c < C, other=0.0)
    g_depth, g_inverse = tl.load(g_depth_ptr + ray), tl.load(g_inverse_ptr + ray)
    g_opacity, g_spread = tl.load(g_opacity_ptr + ray), tl.load(g_spread_ptr + ray)
    opacity, f_0 = tl.load(opacity_ptr + ray), tl.load(first_ptr + ray)
    total, passed, weight, bent = 0.0, 0.0, 0.0, f_0
    for piece in range(0, last - first, BLOCK):
        begin = first + piece
        i = begin + tl.arange(0, BLOCK)
        g, w, _, _, _, passed, weight, bent = _pull(
            tau_ptr, rgb_ptr, depth_ptr, start_ptr, end_ptr, gw_ptr, begin, i, i < last, first, opacity,
            passed, weight, bent, g_rgb, g_depth, g_inverse, g_opacity, g_spread, C, CP,
        )  # fmt: skip
        total += tl.sum(g * w, 0)
    done, passed, weight, bent = 0.0, 0.0, 0.0, f_0
    for piece in range(0, last - first, BLOCK):
        begin = first + piece
        i = begin + tl.arange(0, BLOCK)
        inside = i < last
        g, w, through, t, before, passed, weight, bent = _pull(
            tau_ptr, rgb_ptr, depth_ptr, start_ptr, end_ptr, gw_ptr, begin, i, inside, first, opacity,
            passed, weight, bent, g_rgb, g_depth, g_inverse, g_opacity, g_spread, C, CP,
        )  # fmt: skip
        behind = total - done - tl.cumsum(g * w, 0)
        tl.store(dtau_ptr + i, g * tl.exp(-through) - behind, mask=inside)
        both = inside[:, None] & (c < C)[None, :]
        tl.store(drgb_ptr + i[:, None] * C + c[None, :], w[:, None] * g_rgb[None, :], mask=both)
        tl.store(ddepth_ptr + i, w * (g_depth - g_inverse / (t * t)), mask=inside)
        dmiddle, dlength = g_spread * w * (2 * before + w - opacity), g_spread * w * w / 3
        tl.store(dstart_ptr + i, dmiddle - dlength, mask=inside)
        tl.store(dend_ptr + i, dmiddle + dlength, mask=inside)
        done += tl.sum(g * w, 0)
