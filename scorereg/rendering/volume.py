r"""Volume rendering with one proposal (NeRF, Mildenhall 2020, eq. 3; proposals as in mip-NeRF 360, Barron 2022).

s        position between near and far on a scale that is even in log depth, in [0, 1]
t        planar depth in metres, t = near (far / near)^s
edges    the n + 1 ends of n intervals along a ray
w        weight of an interval: w_i = T_i (1 - exp(-density_i length_i)), with the transmittance T_i
opacity  the sum of a ray's weights
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor

from scorereg.cameras import Rays
from scorereg.ops import composite, render_weights
from scorereg.rendering.field import Field

__all__ = [
    "DensityFn",
    "Render",
    "edge_depths",
    "midpoints",
    "proposal_loss",
    "render",
    "render_image",
    "resample",
]

DensityFn = Callable[[Float[Tensor, "n 3"]], Float[Tensor, " n"]]


@dataclass(frozen=True, eq=False)
class Render:
    """Colors, depths and opacities of rays, with the samples that they come from.

    Args:
        rgb: Color composited on the background, in [0, 1].
        depth: Planar depth in metres, divided by opacity; `far` for a ray that hits nothing.
        opacity: Sum of the weights, in [0, 1].
        weights: Weights of the intervals.
        edges: Ends of the intervals, as s in [0, 1].
        points: Middles of the intervals, in world coordinates.
        proposal_weights: Weights of the proposal's intervals.
        proposal_edges: Ends of the proposal's intervals, as s.
    """

    rgb: Float[Tensor, "r 3"]
    depth: Float[Tensor, " r"]
    opacity: Float[Tensor, " r"]
    weights: Float[Tensor, "r n"]
    edges: Float[Tensor, "r n+1"]
    points: Float[Tensor, "r n 3"]
    proposal_weights: Float[Tensor, "r m"]
    proposal_edges: Float[Tensor, "r m+1"]

    def __getitem__(self, index: slice) -> "Render":
        """Some of the rays."""
        return Render(**{name: value[index] for name, value in self.__dict__.items()})


def render(
    field: Field,
    rays: Rays,
    *,
    proposal: DensityFn,
    near: float,
    far: float,
    samples: int = 32,
    proposal_samples: int = 48,
    anneal: float = 1.0,
    background: float = 0.0,
    generator: torch.Generator | None = None,
) -> Render:
    """Render rays: evaluate the proposal at even samples, and the field at samples drawn from the proposal's weights.

    Differentiable to the parameters of the field and the proposal, not to the rays.

    Args:
        field: Density and color of points.
        rays: Rays in one axis.
        proposal: Density of points.
        near: Planar depth in metres at which rays begin, > 0.
        far: Planar depth in metres at which rays end.
        samples: Samples of the field a ray.
        proposal_samples: Samples of the proposal a ray.
        anneal: Power of the proposal's weights, from 0 (even sampling) to 1.
        background: Gray value behind the scene, in [0, 1].
        generator: Random numbers that jitter the samples of each ray; without it they are in the middles.

    Raises:
        ValueError: If not 0 < near < far, or a count is below 1.
    """
    if not 0 < near < far or min(samples, proposal_samples) < 1:
        raise ValueError(
            f"render needs 0 < near < far and at least one sample, got near={near:g}, far={far:g}, "
            f"samples={samples}, proposal_samples={proposal_samples}."
        )
    count = len(rays)
    even = repeat(torch.linspace(0, 1, proposal_samples + 1, device=rays.origins.device), "n -> r n", r=count)
    coarse_edges = _jitter(even, generator)
    _, coarse_points, length = _intervals(rays, coarse_edges, near, far)
    coarse = render_weights(proposal(rearrange(coarse_points, "r n c -> (r n) c")).reshape(length.shape) * length)
    edges = resample(coarse_edges, coarse.detach() ** anneal, samples, generator=generator)
    middle, points, length = _intervals(rays, edges, near, far)
    directions = repeat(rays.directions, "r c -> (r n) c", n=samples)
    density, rgb = field(rearrange(points, "r n c -> (r n) c"), directions)
    tau, rgb = density.reshape(length.shape) * length, rearrange(rgb, "(r n) c -> r n c", n=samples)
    shown = composite(tau, rgb, middle, edges[:, :-1], edges[:, 1:])
    # the far end has a vanishing weight, which only matters where there is no other
    depth = (shown.depth + 1e-6 * far) / (shown.opacity + 1e-6)
    rgb = shown.rgb if background == 0 else shown.rgb + background * (1 - shown.opacity)[:, None]
    return Render(rgb, depth, shown.opacity, shown.weights, edges, points, coarse, coarse_edges)


def resample(
    edges: Float[Tensor, "r e"],
    weights: Float[Tensor, "r e-1"],
    samples: int,
    *,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "r {samples}+1"]:
    """Draw intervals from a histogram by inverse transform sampling. No gradient.

    Args:
        edges: Ends of the histogram's intervals, rising.
        weights: Weights of these intervals, >= 0, of any sum. A small constant is added, so that every part is sampled.
        samples: Number of new intervals.
        generator: Random numbers that shift a ray's quantiles together; without it they are even.
    """
    weights = weights.detach() + 1e-2 / weights.shape[-1] + 1e-2 * weights.detach().mean(-1, keepdim=True)
    cdf = torch.nn.functional.pad((weights / weights.sum(-1, keepdim=True)).cumsum(-1), (1, 0))
    cdf[:, -1].fill_(1)
    shift = 0.5
    if generator is not None:
        shift = torch.rand(len(edges), 1, generator=generator, device=edges.device)
    quantiles = (torch.arange(samples, device=edges.device) + shift).expand(len(edges), -1) / samples
    above = torch.searchsorted(cdf, quantiles.contiguous(), right=True).clamp(1, weights.shape[-1])
    c0, c1 = cdf.gather(-1, above - 1), cdf.gather(-1, above)
    e0, e1 = edges.gather(-1, above - 1), edges.gather(-1, above)
    middle = e0 + (quantiles - c0) / (c1 - c0).clamp_min(1e-9) * (e1 - e0)
    between = (middle[:, 1:] + middle[:, :-1]) / 2
    first = torch.maximum(edges[:, :1], 2 * middle[:, :1] - torch.cat([between, edges[:, -1:]], 1)[:, :1])
    last = torch.minimum(edges[:, -1:], 2 * middle[:, -1:] - torch.cat([edges[:, :1], between], 1)[:, -1:])
    return torch.cat([first, between, last], -1)


def edge_depths(edges: Float[Tensor, "*r e"], near: float, far: float) -> Float[Tensor, "*r e"]:
    """Planar depth t in metres of a render's edges s."""
    return near * torch.exp(edges * math.log(far / near))


def midpoints(t: Float[Tensor, "*r e"]) -> Float[Tensor, "*r e-1"]:
    """Middles of the intervals between adjacent depths."""
    return (t[..., 1:] + t[..., :-1]) / 2


def proposal_loss(render: Render) -> Float[Tensor, ""]:
    """Weight of the field that the proposal's histogram does not bound (mip-NeRF 360, eq. 13), squared and averaged.

    Differentiable to the proposal alone.
    """
    w, edges = render.weights.detach(), render.edges.detach()
    old = render.proposal_edges.contiguous()  # without jitter, all rays share one row
    total = torch.nn.functional.pad(render.proposal_weights.cumsum(-1), (1, 0))
    below = (torch.searchsorted(old, edges[:, :-1].contiguous(), right=True) - 1).clamp_min(0)
    above = torch.searchsorted(old, edges[:, 1:].contiguous()).clamp_max(total.shape[-1] - 1)
    bound = total.gather(-1, above) - total.gather(-1, below)
    return ((w - bound).clamp_min(0).square() / (w + 1e-4)).sum(-1).mean()


@torch.no_grad()
def render_image(
    field: Field,
    rays: Rays,
    *,
    chunk: int = 8192,
    **settings: Any,
) -> tuple[Float[Tensor, "h w 3"], Float[Tensor, "h w"], Float[Tensor, "h w"]]:
    """Render an image: color, planar depth in metres and opacity of rays of shape (h, w). Without a graph.

    Args:
        field: Density and color of points.
        rays: In shape (h, w).
        chunk: Rays rendered at a time.
        **settings: Arguments of `render`: `proposal`, `near`, `far` and what else differs from its defaults.
    """
    flat = rays.flatten()
    parts = []
    for start in range(0, len(flat), chunk):
        r = render(field, flat[start : start + chunk], **settings)
        parts.append(torch.cat([r.rgb, r.depth[:, None], r.opacity[:, None]], -1))
    image = torch.cat(parts).reshape(*rays.shape, 5)
    return image[..., :3], image[..., 3], image[..., 4]


def _intervals(rays: Rays, edges: Tensor, near: float, far: float) -> tuple[Tensor, Tensor, Tensor]:
    """Middles of the intervals in depth [r, n] and in space [r, n, 3], and their lengths in depth [r, n]."""
    t = edge_depths(edges, near, far)
    middle = midpoints(t)
    return middle, rays.points(middle), t[:, 1:] - t[:, :-1]


def _jitter(edges: Tensor, generator: torch.Generator | None) -> Tensor:
    """Shift the inner edges of each ray together by up to half an interval either way."""
    if generator is None:
        return edges
    shift = (torch.rand(len(edges), 1, generator=generator, device=edges.device) - 0.5) / (edges.shape[1] - 1)
    return torch.cat([edges[:, :1], edges[:, 1:-1] + shift, edges[:, -1:]], -1)
