r"""Distortion of the weights along a ray (mip-NeRF 360, Barron 2022, eq. 15), linear in the samples.

    m, delta    middle and length of an interval
    P_i         sum of the weights up to and with i;  W the sum of all
    gap_i       m_{i+1} - m_i

    sum_ij w_i w_j |m_i - m_j| = 2 sum_i gap_i P_i (W - P_i)

which cancels no large numbers and needs one running sum. Backward, with f_i = sum_j w_j |m_i - m_j|:

    f_0 = sum_i gap_i (W - P_i),   f_{i+1} = f_i + gap_i (2 P_i - W)
    dL/dw_i = 2 f_i + 2/3 w_i delta_i,   dL/dm_i = 2 w_i (2 P_i - w_i - W),   dL/ddelta_i = w_i^2 / 3
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["distortion", "distortion_reference"]


def distortion(weights: Float[Tensor, "*rays n"], edges: Float[Tensor, "*rays n+1"]) -> Float[Tensor, "*rays"]:
    r"""Return $\sum_{i,j} w_i w_j |m_i - m_j| + \frac13 \sum_i w_i^2 \delta_i$ for each ray (mip-NeRF 360, eq. 15).

    Differentiable once, to both. Plain torch on every device: three passes over memory, no tensor of n x n.

    Args:
        weights: Weight of each interval, >= 0; half precision is computed, and the result returned, in float32.
        edges: Ends of the intervals, rising, on the scale on which distances are measured.
    """
    return _Distortion.apply(*(x if x.dtype == torch.float64 else x.float() for x in (weights, edges)))


def distortion_reference(
    weights: Float[Tensor, "*rays n"], edges: Float[Tensor, "*rays n+1"]
) -> Float[Tensor, "*rays"]:
    """The definition of `distortion` as the paper prints it, quadratic in the samples."""
    middle = (edges[..., 1:] + edges[..., :-1]) / 2
    apart = (middle[..., :, None] - middle[..., None, :]).abs()
    pairs = (weights[..., :, None] * weights[..., None, :] * apart).sum((-2, -1))
    return pairs + (weights.square() * edges.diff()).sum(-1) / 3


class _Distortion(torch.autograd.Function):
    """`distortion` with its gradient in closed form."""

    @staticmethod
    def forward(ctx, w, edges):
        prefix = w.cumsum(-1)
        ctx.save_for_backward(w, edges, prefix)
        middle = edges[..., 1:] + edges[..., :-1]  # twice
        gap = (middle[..., 1:] - middle[..., :-1]).mul_(prefix[..., :-1])
        apart = torch.linalg.vecdot(gap, prefix[..., -1:] - prefix[..., :-1])
        return apart + torch.linalg.vecdot(w * w, edges[..., 1:] - edges[..., :-1]) / 3

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):  # pyright: ignore[reportIncompatibleMethodOverride]
        w, edges, prefix = ctx.saved_tensors
        length = edges[..., 1:] - edges[..., :-1]
        grad = grad[..., None]
        dw = dedges = None
        if ctx.needs_input_grad[0]:
            middle = edges[..., 1:] + edges[..., :-1]
            dw = twice_distances(middle[..., 1:] - middle[..., :-1], prefix)
            dw.add_(length.mul(w), alpha=2 / 3).mul_(grad)
        if ctx.needs_input_grad[1]:
            dmiddle, dlength = grad * w * (2 * prefix - w - prefix[..., -1:]), grad * w * w / 3
            dedges = torch.zeros_like(edges)
            dedges[..., :-1] += dmiddle - dlength
            dedges[..., 1:] += dmiddle + dlength
        return dw, dedges


def twice_distances(twice_gap: Float[Tensor, "*rays m"], prefix: Float[Tensor, "*rays n"]) -> Float[Tensor, "*rays n"]:
    """`2 f` of the module's docstring from twice the gaps, which it overwrites, and the weights' running sums."""
    inner, total = prefix[..., :-1], prefix[..., -1:]
    rest = total - inner
    out = torch.empty_like(prefix)
    out[..., :1].zero_()
    first = torch.linalg.vecdot(twice_gap, rest)[..., None]
    torch.cumsum(twice_gap.mul_(inner - rest), -1, out=out[..., 1:])
    return out.add_(first)
