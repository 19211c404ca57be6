r"""Plain torch's compositing, with its gradient in closed form: half the time of torch's own, and of its memory.

P_i     running sum of the weights;  W their sum;  T'_i = exp(-sum_{j<=i} tau_j) the light that is left behind i
g_i     gradient to a weight: what comes in for it, for its ray's sums, and 2 f_i + 2/3 w_i delta_i of distortion

dL/dtau_k = g_k T'_k - sum_{i>k} g_i w_i
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from scorereg.ops.distortion import twice_distances

__all__ = ["composite_dense"]


def composite_dense(
    tau: Float[Tensor, "*rays n"],
    rgb: Float[Tensor, "*rays n c"],
    depth: Float[Tensor, "*rays n"],
    starts: Float[Tensor, "*rays n"],
    ends: Float[Tensor, "*rays n"],
) -> tuple[Float[Tensor, "*rays n"], Float[Tensor, "*rays c"], *tuple[Float[Tensor, "*rays"], ...]]:
    """Return weights, colour, depth, inverse depth, opacity and distortion, as `composite` defines them."""
    *rays, n = tau.shape
    flat = (math.prod(rays), n)
    tau, depth, starts, ends = (x.reshape(flat) for x in (tau, depth, starts, ends))
    weights, colour, *sums = _Composite.apply(tau, rgb.reshape(*flat, rgb.shape[-1]), depth, starts, ends)
    return weights.reshape(*rays, n), colour.reshape(*rays, rgb.shape[-1]), *(x.reshape(rays) for x in sums)


class _Composite(torch.autograd.Function):
    """Of rays in one axis."""

    @staticmethod
    def forward(ctx, tau, rgb, depth, starts, ends):
        behind = tau.cumsum(-1).neg_().exp_()
        w = torch.neg(tau).expm1_().neg_()
        w[:, 1:].mul_(behind[:, :-1])
        prefix = w.cumsum(-1)
        ctx.save_for_backward(rgb, depth, starts, ends, w, behind, prefix)
        ctx.set_materialize_grads(False)
        opacity = prefix[:, -1] if tau.shape[1] else tau.sum(-1)
        middle = starts + ends  # twice
        gap = (middle[:, 1:] - middle[:, :-1]).mul_(prefix[:, :-1])
        apart = torch.linalg.vecdot(gap, prefix[:, -1:] - prefix[:, :-1])
        spread = apart + torch.linalg.vecdot(w * w, ends - starts) / 3
        colour = torch.bmm(w[:, None], rgb)[:, 0]  # no tensor of rays x n x c
        return w, colour, torch.linalg.vecdot(w, depth), (w / depth).sum(-1), opacity.clone(), spread

    @staticmethod
    @once_differentiable
    def backward(ctx, gw, gcolour, gdepth, ginverse, gopacity, gspread):  # pyright: ignore[reportIncompatibleMethodOverride]
        rgb, depth, starts, ends, w, behind, prefix = ctx.saved_tensors
        _, rgb_too, depth_too, starts_too, ends_too = ctx.needs_input_grad
        total = torch.zeros_like(w) if gw is None else gw.clone()
        drgb = ddepth = dstarts = dends = None
        if gcolour is not None:
            for channel in range(rgb.shape[-1]):  # strided, and still thrice as fast as a product with so few columns
                total.addcmul_(rgb[..., channel], gcolour[:, channel, None])
            drgb = w[..., None] * gcolour[:, None] if rgb_too else None
        if gdepth is not None:
            total.addcmul_(depth, gdepth[:, None])
            ddepth = w * gdepth[:, None] if depth_too else None
        if ginverse is not None:
            total.addcdiv_(ginverse[:, None].expand_as(depth), depth)
            ddepth = _sum(ddepth, -w * ginverse[:, None] / depth.square() if depth_too else None)
        if gopacity is not None:
            total.add_(gopacity[:, None])
        if gspread is not None:
            length, middle = ends - starts, starts + ends
            two_f = twice_distances(middle[:, 1:] - middle[:, :-1], prefix)
            total.addcmul_(two_f.add_(length.mul_(w), alpha=2 / 3), gspread[:, None])
            if starts_too or ends_too:
                dmiddle = gspread[:, None] * w * (2 * prefix - w - prefix[:, -1:])
                dlength = gspread[:, None] * w * w / 3
                dstarts, dends = dmiddle - dlength, dmiddle + dlength
        dtau = _to_optical_depth(total, w, behind)
        return dtau, drgb, ddepth, dstarts, dends


def _to_optical_depth(total: Tensor, w: Tensor, behind: Tensor) -> Tensor:
    through = (total * w).cumsum(-1)
    return total.mul_(behind).sub_(through[:, -1:]).add_(through)


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b
