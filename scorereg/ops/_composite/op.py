r"""Volume rendering in one pass: weights, colour, depth, opacity and distortion (NeRF, Mildenhall 2020, eq. 3).

tau     optical depth of a sample, density times length
w_i     weight, T_i (1 - exp(-tau_i)), T_i = exp(-sum_{j<i} tau_j) the light that gets there
t       planar depth of a sample;  m, delta: middle and length of its interval, on the distortion's own scale
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scorereg.ops._composite.eager import Colors, Samples, composite_dense, render_weights
from scorereg.ops.dispatch import use_triton

__all__ = ["Composite", "composite", "composite_reference"]

Offsets = Int[Tensor, " bounds"]


@dataclass(frozen=True, eq=False)
class Composite:
    r"""What rays show. Sums over a ray are float32 (float64 of float64), whatever the samples are stored in.

    Args:
        weights: Of the samples, in the dtype of the optical depth.
        rgb: $\sum w_i c_i$, on black.
        depth: $\sum w_i t_i$, not divided by the opacity.
        inverse_depth: $\sum w_i / t_i$, not divided by the opacity.
        opacity: $\sum w_i$, in [0, 1].
        distortion: $\sum_{i,j} w_i w_j |m_i - m_j| + \frac13 \sum_i w_i^2 \delta_i$ (mip-NeRF 360, eq. 15).
    """

    weights: Float[Tensor, "*samples"]
    rgb: Float[Tensor, "*rays c"]
    depth: Float[Tensor, "*rays"]
    inverse_depth: Float[Tensor, "*rays"]
    opacity: Float[Tensor, "*rays"]
    distortion: Float[Tensor, "*rays"]


def composite(
    tau: Samples, rgb: Colors, depth: Samples, starts: Samples, ends: Samples, *, offsets: Offsets | None = None
) -> Composite:
    """Composite the samples of rays, dense or packed. Differentiable once, to all five.

    Backward, what lies along a ray is computed again from the five inputs by the kernel; plain torch keeps two tensors
    of the samples' size.

    Args:
        tau: Dimensionless, >= 0, from near to far. Dense: the last axis is a ray. Packed: one axis, ray after ray.
        rgb: Colours, or features of any number.
        depth: Planar depth, > 0.
        starts: Of the intervals, rising along a ray, on whatever scale distortion is to be measured.
        ends: The same.
        offsets: Of packed rays: where each ray begins in the one axis, and at the end the number of samples.

    Raises:
        ValueError: If `offsets` are given and the samples have more than one axis.
    """
    if offsets is not None and tau.ndim != 1:
        raise ValueError(
            f"composite: offsets belong to packed samples in one axis, but tau has shape {tuple(tau.shape)}. "
            "Leave them out for dense rays, whose last axis is a ray."
        )
    given = (tau, rgb, depth, starts, ends)
    if use_triton(*given):
        from scorereg.ops._composite.kernels import composite_triton  # imported only where it can run

        return Composite(*composite_triton(*given, offsets))
    stored = tau.dtype
    given = tuple(x if x.dtype == torch.float64 else x.float() for x in given)
    if offsets is None:
        weights, *sums = composite_dense(*given)
        return Composite(weights.to(stored), *sums)
    where = _places(offsets, len(tau))
    weights, *sums = composite_dense(*_padded(given, where, offsets))
    return Composite(weights[where].to(stored), *sums)


def composite_reference(
    tau: Samples, rgb: Colors, depth: Samples, starts: Samples, ends: Samples, *, offsets: Offsets | None = None
) -> Composite:
    """The definition, in plain torch and with torch's own gradients: what the others are tested against."""
    if offsets is not None:
        bounds = offsets.tolist()
        rays = [composite_reference(*(x[a:b] for x in (tau, rgb, depth, starts, ends))) for a, b in pairwise(bounds)]
        parts = [[getattr(ray, name) for ray in rays] for name in Composite.__dataclass_fields__]
        return Composite(torch.cat(parts[0]), *(torch.stack(part) for part in parts[1:]))
    w = render_weights(tau)
    middle = (starts + ends) / 2
    apart = (w[..., :, None] * w[..., None, :] * (middle[..., :, None] - middle[..., None, :]).abs()).sum((-2, -1))
    spread = apart + (w.square() * (ends - starts)).sum(-1) / 3
    color = (w[..., None] * rgb).sum(-2)
    return Composite(w, color, (w * depth).sum(-1), (w / depth).sum(-1), w.sum(-1), spread)


def _places(offsets: Offsets, samples: int) -> tuple[Int[Tensor, " m"], Int[Tensor, " m"]]:
    """Ray and place in its ray of each packed sample."""
    counts = offsets.diff()
    ray = torch.arange(len(counts), device=offsets.device).repeat_interleave(counts, output_size=samples)
    return ray, torch.arange(samples, device=offsets.device) - offsets[ray]


def _padded(
    packed: tuple[Tensor, ...], where: tuple[Tensor, Tensor], offsets: Offsets
) -> list[Float[Tensor, "r n *c"]]:
    """Packed samples as dense rays of the longest one's length; what is added has no optical depth."""
    shape = (len(offsets) - 1, int(offsets.diff().max()) if len(offsets) > 1 else 0)
    fill = (0.0, 0.0, 1.0, 0.0, 0.0)  # a depth of 1: it is divided by
    return [
        x.new_full((*shape, *x.shape[1:]), value).index_put(where, x) for x, value in zip(packed, fill, strict=True)
    ]
