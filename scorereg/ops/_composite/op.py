r"""Volume rendering in one pass: weights, color, depth, opacity and distortion (NeRF, Mildenhall 2020, eq. 3).

tau     optical depth of a sample, density times length
w_i     weight, T_i (1 - exp(-tau_i)), with the transmittance T_i = exp(-sum_{j<i} tau_j)
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
    r"""Weights of samples and their sums along rays. Sums are float32 (float64 of float64), also of half precision.

    Args:
        weights: Weight of each sample, in the dtype of the optical depth.
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
    """Composite the samples of rays, dense or packed. Differentiable once, to all five inputs.

    For the backward pass the kernel computes everything again from the inputs; plain torch keeps two tensors of the
    samples' size.

    Args:
        tau: Optical depth, dimensionless, >= 0, from near to far. Dense: the last axis is a ray. Packed: one axis, ray
            after ray.
        rgb: Colors, or any number of features.
        depth: Planar depth, > 0.
        starts: Start of each sample's interval, rising along a ray, on the scale on which distortion is measured.
        ends: End of each sample's interval, on the same scale.
        offsets: First sample of each packed ray, and at the end the number of samples; dense rays if not given.

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
    """The definition of `composite` in plain torch, with torch's own gradients."""
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
    """Ray of each packed sample, and its place along that ray."""
    counts = offsets.diff()
    ray = torch.arange(len(counts), device=offsets.device).repeat_interleave(counts, output_size=samples)
    return ray, torch.arange(samples, device=offsets.device) - offsets[ray]


def _padded(
    packed: tuple[Tensor, ...], where: tuple[Tensor, Tensor], offsets: Offsets
) -> list[Float[Tensor, "r n *c"]]:
    """Packed samples as dense rays, padded to the longest one with samples of no optical depth."""
    shape = (len(offsets) - 1, int(offsets.diff().max()) if len(offsets) > 1 else 0)
    fill = (0.0, 0.0, 1.0, 0.0, 0.0)  # a depth of 1: it is divided by
    return [
        x.new_full((*shape, *x.shape[1:]), value).index_put(where, x) for x, value in zip(packed, fill, strict=True)
    ]
