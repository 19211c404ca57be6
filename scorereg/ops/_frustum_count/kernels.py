"""Triton kernels of `frustum_count` and its penalty: one program for BLOCK points, or for a ray, through all cameras.

A camera is 18 numbers, the same for all lanes, so they come from the cache; a point is read once. The penalty's
backward pass reads how many views each sample lacks, one byte that the forward pass writes. Offsets are int64.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["frustum_count_triton", "frustum_penalty_triton"]

_BLOCK = 256


def frustum_count_triton(
    points: Float[Tensor, "*p 3"], planes: Float[Tensor, "k 6 3"], near: float
) -> Int[Tensor, "*p"]:
    """`frustum_count` by a kernel."""
    count = torch.empty(points.shape[:-1], dtype=torch.long, device=points.device)
    if count.numel():
        programs = (triton.cdiv(count.numel(), _BLOCK),)
        _count_kernel[programs](points.contiguous(), planes, count, count.numel(), len(planes), near, _BLOCK)
    return count


def frustum_penalty_triton(
    weights: Float[Tensor, "*rays n"],
    points: Float[Tensor, "*rays n 3"],
    planes: Float[Tensor, "k 6 3"],
    near: float,
    views: int,
) -> Float[Tensor, "*rays"]:
    """`frustum_penalty` by kernels."""
    return _Penalty.apply(weights, points, planes, near, views)


class _Penalty(torch.autograd.Function):
    @staticmethod
    def forward(ctx, weights, points, planes, near, views):
        missing = torch.empty(weights.shape, dtype=torch.uint8, device=weights.device)
        penalty = torch.empty(weights.shape[:-1], device=weights.device)
        ctx.save_for_backward(missing)
        ctx.dtype = weights.dtype
        given = (weights.contiguous(), points.contiguous(), planes, missing, penalty)
        _launch(_penalty_forward, penalty, *given, weights.shape[-1], len(planes), near, views)
        return penalty

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):  # pyright: ignore[reportIncompatibleMethodOverride]
        (missing,) = ctx.saved_tensors
        dweights = torch.empty(missing.shape, dtype=ctx.dtype, device=grad.device)
        _launch(_penalty_backward, grad, missing, grad.contiguous(), dweights, missing.shape[-1])
        return dweights, None, None, None, None


def _launch(kernel, rays: Tensor, *given) -> None:
    if rays.numel():
        kernel[(rays.numel(),)](*given, _BLOCK)


@no_type_check
@triton.jit
def _seen(point_ptr, at, mask, plane_ptr, cameras, near, BLOCK: tl.constexpr):
    """Number of cameras that see each point."""
    x = tl.load(point_ptr + at * 3, mask=mask, other=0.0).to(tl.float32)
    y = tl.load(point_ptr + at * 3 + 1, mask=mask, other=0.0).to(tl.float32)
    z = tl.load(point_ptr + at * 3 + 2, mask=mask, other=0.0).to(tl.float32)
    count = tl.zeros([BLOCK], tl.int32)
    for camera in range(cameras):
        row = plane_ptr + camera * 18
        u, v, w = x - tl.load(row + 15), y - tl.load(row + 16), z - tl.load(row + 17)
        inside = (tl.load(row + 12) * u + tl.load(row + 13) * v + tl.load(row + 14) * w) > near
        for side in tl.static_range(4):
            a, b, c = tl.load(row + side * 3), tl.load(row + side * 3 + 1), tl.load(row + side * 3 + 2)
            inside = inside & (a * u + b * v + c * w >= 0)
        count += inside.to(tl.int32)
    return count


@no_type_check
@triton.jit
def _count_kernel(point_ptr, plane_ptr, count_ptr, points, cameras, near, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    count = _seen(point_ptr, at, at < points, plane_ptr, cameras, near, BLOCK)
    tl.store(count_ptr + at, count.to(tl.int64), mask=at < points)


@no_type_check
@triton.jit
def _penalty_forward(
    weight_ptr, point_ptr, plane_ptr, missing_ptr, penalty_ptr, samples, cameras, near, views, BLOCK: tl.constexpr
):  # fmt: skip
    ray = tl.program_id(0).to(tl.int64)
    penalty = 0.0
    for begin in range(0, samples, BLOCK):
        place = begin + tl.arange(0, BLOCK)
        inside = place < samples
        at = ray * samples + place
        missing = tl.maximum(views - _seen(point_ptr, at, inside, plane_ptr, cameras, near, BLOCK), 0)
        weight = tl.load(weight_ptr + at, mask=inside, other=0.0).to(tl.float32)
        penalty += tl.sum(weight * missing.to(tl.float32), 0)
        tl.store(missing_ptr + at, missing.to(tl.uint8), mask=inside)
    tl.store(penalty_ptr + ray, penalty)


@no_type_check
@triton.jit
def _penalty_backward(missing_ptr, grad_ptr, out_ptr, samples, BLOCK: tl.constexpr):
    ray = tl.program_id(0).to(tl.int64)
    grad = tl.load(grad_ptr + ray)
    for begin in range(0, samples, BLOCK):
        place = begin + tl.arange(0, BLOCK)
        at = ray * samples + place
        missing = tl.load(missing_ptr + at, mask=place < samples, other=0).to(tl.float32)
        tl.store(out_ptr + at, grad * missing, mask=place < samples)
