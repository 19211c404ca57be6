"""Cases of `benchmarks.ops` along rays: distortion, compositing, and counting cameras."""

import importlib.util
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmarks.ops_case import Case, both_ways
from scorereg import Cameras
from scorereg.ops import (
    composite,
    distortion,
    distortion_reference,
    frustum_penalty,
    frustum_penalty_reference,
    render_weights,
)

__all__ = ["cases"]


def cases(device: str) -> Iterator[Case]:
    """All of them, each built when it is its turn."""
    yield _distortion(device)
    for samples in (32, 64, 256):
        yield _composite(device, 4096, samples)
    yield _packed(device)
    yield _frustum(device)


def _rays(device: str, rays: int, samples: int) -> list[Tensor]:
    """Optical depth, colours, depth and edges."""
    edges = torch.rand(rays, samples + 1, device=device).sort(-1).values
    tau, rgb = 0.1 * torch.rand(rays, samples, device=device), torch.rand(rays, samples, 3, device=device)
    return [tau.requires_grad_(), rgb.requires_grad_(), 1 + edges[:, 1:].contiguous(), edges]


def _distortion(device: str) -> Case:
    weights = (torch.rand(4096, 256, device=device) / 256).requires_grad_()
    edges = torch.rand(4096, 257, device=device).sort(-1).values
    runs = {
        "ours": both_ways(lambda: (distortion(weights, edges),), [weights]),
        "O(N^2)": both_ways(lambda: (distortion_reference(weights, edges),), [weights]),
        "linear, torch's gradient": both_ways(lambda: (_linear(weights, edges),), [weights]),
    }
    return Case("distortion", "256 samples, 4096 rays, forward and backward", runs, repeats=3, bytes=6 * 4096 * 256 * 4)


def _composite(device: str, rays: int, samples: int) -> Case:
    tau, rgb, depth, edges = _rays(device, rays, samples)
    starts, ends = edges[:, :-1], edges[:, 1:]

    def ours() -> tuple[Tensor, ...]:
        shown = composite(tau, rgb, depth, starts, ends)
        return shown.rgb, shown.depth, shown.inverse_depth, shown.opacity, shown.distortion

    runs = {
        "ours": both_ways(ours, [tau, rgb]),
        "unfused torch": both_ways(lambda: _unfused(tau, rgb, depth, edges), [tau, rgb]),
    }
    if importlib.util.find_spec("nerfacc") is not None:
        runs["nerfacc"] = both_ways(lambda: _nerfacc(tau, rgb, depth, edges), [tau, rgb])
    what = f"with distortion, {samples} samples, {rays} rays, forward and backward"
    return Case("composite", what, runs, bytes=rays * samples * 4 * (7 + 12))


def _packed(device: str) -> Case:
    counts = torch.randint(16, 97, (4096,), device=device)
    offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    tau, rgb, depth, _ = _rays(device, 1, int(offsets[-1]))
    tau, rgb, depth = (x[0].detach().requires_grad_() for x in (tau, rgb, depth))
    starts = torch.cat([torch.arange(n, device=device) / n for n in counts.tolist()])
    ends = starts + 1 / counts.repeat_interleave(counts)

    def shown(function: Callable[..., tuple[Tensor, ...]]) -> Callable[[], None]:
        return both_ways(lambda: function(tau, rgb, depth, starts, ends, offsets), [tau, rgb])

    runs = {"ours": shown(_packed_ours), "padded unfused torch": shown(_packed_unfused)}
    return Case("composite", "with distortion, 16 to 96 samples, 4096 packed rays, forward and backward", runs)


def _frustum(device: str) -> Case:
    pose = torch.eye(3, 4, device=device).repeat(8, 1, 1)
    pose[:, :, 3] = torch.randn(8, 3, device=device)
    cameras = Cameras(
        pose, torch.full((8, 2), 400.0, device=device), torch.full((8, 2), 200.0, device=device), 400, 400
    )
    points = 3 * torch.randn(4096, 48, 3, device=device)
    weights = torch.rand(4096, 48, device=device, requires_grad=True)
    runs = {
        "ours": both_ways(lambda: (frustum_penalty(weights, points, cameras),), [weights]),
        "unfused torch": both_ways(lambda: (frustum_penalty_reference(weights, points, cameras),), [weights]),
    }
    what = "penalty, 48 samples, 4096 rays, 8 cameras, forward and backward"
    return Case("frustum_count", what, runs, bytes=4096 * 48 * (12 + 4 + 4 + 2))


def _linear(weights: Tensor, edges: Tensor) -> Tensor:
    """Two running sums, as is usual."""
    middle = (edges[..., 1:] + edges[..., :-1]) / 2
    moment = weights * middle
    before, moment_before = weights.cumsum(-1) - weights, moment.cumsum(-1) - moment
    apart = 2 * (weights * (middle * before - moment_before)).sum(-1)
    return apart + (weights.square() * edges.diff()).sum(-1) / 3


def _unfused(tau: Tensor, rgb: Tensor, depth: Tensor, edges: Tensor) -> tuple[Tensor, ...]:
    """As one writes it."""
    return _summed(render_weights(tau), rgb, depth, edges)


def _nerfacc(tau: Tensor, rgb: Tensor, depth: Tensor, edges: Tensor) -> tuple[Tensor, ...]:
    """Weights and sums by nerfacc; it has no distortion, so that is the linear one."""
    import nerfacc  # pyright: ignore[reportMissingImports]

    w, _, _ = nerfacc.render_weight_from_density(torch.zeros_like(tau), torch.ones_like(tau), tau)
    values = torch.cat([rgb, depth[..., None], 1 / depth[..., None]], -1)
    shown = nerfacc.accumulate_along_rays(w, values)
    return shown[..., :3], shown[..., 3], shown[..., 4], w.sum(-1), _linear(w, edges)


def _summed(w: Tensor, rgb: Tensor, depth: Tensor, edges: Tensor) -> tuple[Tensor, ...]:
    color = (w[..., None] * rgb).sum(-2)
    return color, (w * depth).sum(-1), (w / depth).sum(-1), w.sum(-1), _linear(w, edges)


def _packed_ours(tau, rgb, depth, starts, ends, offsets) -> tuple[Tensor, ...]:
    shown = composite(tau, rgb, depth, starts, ends, offsets=offsets)
    return shown.rgb, shown.depth, shown.inverse_depth, shown.opacity, shown.distortion


def _packed_unfused(tau, rgb, depth, starts, ends, offsets) -> tuple[Tensor, ...]:
    """Rays of the longest one's length, by the same formulas."""
    counts = offsets.diff()
    ray = torch.arange(len(counts), device=tau.device).repeat_interleave(counts)
    where = (ray, torch.arange(len(tau), device=tau.device) - offsets[ray])
    shape = (len(counts), int(counts.max()))
    dense = [
        x.new_full((*shape, *x.shape[1:]), fill).index_put(where, x)
        for x, fill in zip((tau, rgb, depth, starts, ends), (0.0, 0.0, 1.0, 1.0, 1.0), strict=True)
    ]
    return _unfused(dense[0], dense[1], dense[2], torch.cat([dense[3], dense[4][:, -1:]], 1))
