r"""Compositing in plain torch with its gradient in closed form: half the time and the memory of torch's own.

P_i     running sum of the weights;  W their sum;  T'_i = exp(-sum_{j<=i} tau_j) the transmittance behind sample i
g_i     gradient to a weight: its own, those of its ray's sums, and 2 f_i + 2/3 w_i delta_i of distortion

dL/dtau_k = g_k T'_k - sum_{i>k} g_i w_i
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from scorereg.ops._distortion import twice_distances

__all__ = ["Colors", "Samples", "composite_dense", "render_weights"]

Samples = Float[Tensor, "*samples"]
Colors = Float[Tensor, "*samples c"]


def render_weights(tau: Float[Tensor, "*rays n"]) -> Float[Tensor, "*rays n"]:
    r"""Weights $w_i = T_i (1 - e^{-\tau_i})$ with $T_i = e^{-\sum_{j<i} \tau_j}$ (NeRF, eq. 3). Differentiable.

    Args:
        tau: Optical depth of the samples, density times length, dimensionless, >= 0, from near to far.
    """
    # not cumsum minus the last term: behind a wall that would round the fog before it away
    before = torch.nn.functional.pad(tau[..., :-1].cumsum(-1), (1, 0))
    return torch.exp(-before) * -torch.expm1(-tau)


def composite_dense(tau: Samples, rgb: Colors, depth: Samples, starts: Samples, ends: Samples) -> tuple[Tensor, ...]:
    """Weights, color, depth, inverse depth, opacity and distortion of dense rays, as `composite` defines them."""
    *rays, n = tau.shape
    flat = (math.prod(rays), n)
    tau, depth, starts, ends = (x.reshape(flat) for x in (tau, depth, starts, ends))
    weights, color, *sums = _Composite.apply(tau, rgb.reshape(*flat, rgb.shape[-1]), depth, starts, ends)
    return weights.reshape(*rays, n), color.reshape(*rays, rgb.shape[-1]), *(x.reshape(rays) for x in sums)


class _Composite(torch.autograd.Function):
    """Compositing of rays in one axis."""

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
        color = torch.bmm(w[:, None], rgb)[:, 0]  # no tensor of rays x n x c
        return w, color, torch.linalg.vecdot(w, depth), (w / depth).sum(-1), opacity.clone(), spread

    @staticmethod
    @once_differentiable
    def backward(ctx, gw, gcolor, gdepth, ginverse, gopacity, gspread):  # pyright: ignore[reportIncompatibleMethodOverride]
        rgb, depth, starts, ends, w, behind, prefix = ctx.saved_tensors
        _, rgb_too, depth_too, starts_too, ends_too = ctx.needs_input_grad
        drgb = ddepth = dstarts = dends = None
        total = _spread_to_weights(gspread, starts, ends, w, prefix)
        if gspread is not None and (starts_too or ends_too):
            dmiddle = gspread[:, None] * w * (2 * prefix - w - prefix[:, -1:])
            dlength = gspread[:, None] * w * w / 3
            dstarts, dends = dmiddle - dlength, dmiddle + dlength
        if gw is not None:
            total.add_(gw)
        if gopacity is not None:
            total.add_(gopacity[:, None])
        if gcolor is not None:
            drgb = torch.empty_like(rgb) if rgb_too else None
            for channel, g in enumerate(gcolor[:, :, None].unbind(1)):  # strided, and faster than products so narrow
                total.addcmul_(rgb[..., channel], g)
                if drgb is not None:
                    torch.mul(w, g, out=drgb[..., channel])
        if gdepth is not None:
            total.addcmul_(depth, gdepth[:, None])
            ddepth = w * gdepth[:, None] if depth_too else None
        if ginverse is not None:
            total.addcdiv_(ginverse[:, None].expand_as(depth), depth)
            ddepth = _sum(ddepth, -w * ginverse[:, None] / depth.square() if depth_too else None)
        through = (total * w).cumsum(-1)
        return total.mul_(behind).sub_(through[:, -1:]).add_(through), drgb, ddepth, dstarts, dends


def _spread_to_weights(
    grad: Tensor | None, starts: Tensor, ends: Tensor, w: Tensor, prefix: Tensor
) -> Float[Tensor, "r n"]:
    """Gradient of distortion to the weights, in new memory."""
    if grad is None:
        return torch.zeros_like(w)
    middle = starts + ends  # twice
    total = twice_distances(middle[:, 1:] - middle[:, :-1], prefix)
    return total.addcmul_(ends - starts, w, value=2 / 3).mul_(grad[:, None])


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b
