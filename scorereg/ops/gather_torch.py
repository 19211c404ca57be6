"""Bilinear patches in plain torch, fast.

Patches that are upright and at the images' own scale have one sub-pixel shift each: a window is cut around each, and
shifted windows are blended, without an index. Windows are taken a few at a time, so that they stay in the cache, and
are added to the gradient one by one, in order: the same sum on every run. Other patches go through `grid_sample`.
"""

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["gather_torch", "positions"]

_CHUNK = 1 << 17  # values of windows at a time


def positions(frame: Float[Tensor, "b 4"], size: int) -> Float[Tensor, "b {size} {size} 2"]:
    """Where each patch pixel looks, of frames x, y, scale times cosine, scale times sine."""
    offset = torch.arange(size, device=frame.device, dtype=frame.dtype) - (size - 1) / 2
    x, y, along, across = frame[:, :, None, None].unbind(1)
    u, v = offset[None, None, :], offset[None, :, None]
    return torch.stack([x + along * u - across * v, y + across * u + along * v], -1)


def gather_torch(
    images: Float[Tensor, "n c h w"], frame: Float[Tensor, "b 4"], index: Int[Tensor, " b"], size: int, unknown: bool
) -> tuple[Float[Tensor, "b c p p"], Float[Tensor, "b p p"] | None, Bool[Tensor, "b p p"]]:
    """Values, how much of them comes from texels whose last channel is not positive, and which lie in the image.

    Args:
        images: In the dtype of the frame.
        frame: Of each patch: x, y, scale times cosine, scale times sine.
        index: The image of each patch.
        size: Rows and columns of a patch.
        unknown: Whether the second result is wanted.
    """
    extent = frame.new_tensor([images.shape[3], images.shape[2]])
    first = frame[:, :2] - size / 2  # texel that the first pixel looks at
    missing = (images.detach()[:, -1:] <= 0).to(images) if unknown else None
    if bool(
        ((frame[:, 2:] == frame.new_tensor([1, 0])).all(1)[:, None] & (first >= 0) & (first + size <= extent - 1)).all()
    ):
        values = _Shifted.apply(images, first, index, size)
        share = None if missing is None else _Shifted.apply(missing, first.detach(), index, size)[:, 0]
        return values, share, torch.ones((), dtype=torch.bool).expand(len(frame), size, size)
    grid = 2 * positions(frame, size) / extent - 1
    valid = torch.maximum(*grid.detach().abs().unbind(-1)) <= 1
    if not valid.all():  # what is not a number would crash `grid_sample`
        grid = torch.where(valid[..., None], grid, torch.zeros_like(grid))
    values = _sampled(images, grid, index)
    return values, None if missing is None else _sampled(missing, grid.detach(), index)[:, 0], valid


def _sampled(images: Tensor, grid: Float[Tensor, "b p p 2"], index: Int[Tensor, " b"]) -> Float[Tensor, "b c p p"]:
    """Image by image, so that no image is copied for a patch."""
    sorted_already = bool((index[1:] >= index[:-1]).all())
    order = index.argsort(stable=True)
    grids = grid if sorted_already else grid.index_select(0, order)
    grids = grids.split(torch.bincount(index, minlength=len(images)).tolist())
    parts = []
    for image, part in zip(images.unbind(0), grids, strict=True):
        if len(part):
            tall = rearrange(part, "b h w c -> 1 (b h) w c")
            shown = torch.nn.functional.grid_sample(image[None], tall, align_corners=False, padding_mode="border")
            parts.append(rearrange(shown, "1 c (b h) w -> b c h w", b=len(part)))
    together = torch.cat(parts)
    return together if sorted_already else together.index_select(0, order.argsort())


class _Shifted(torch.autograd.Function):
    """Patches inside the images, of whole-pixel pitch; `first` is where, in texels, their first pixel looks."""

    @staticmethod
    def forward(ctx, images, first, index, size):
        ctx.save_for_backward(images, first, index)
        out = images.new_empty(len(first), images.shape[1], size, size)
        views, shifts = _windows(images, first, index, size)
        for part in _parts(images, len(first), size):
            windows, (x, y) = torch.stack(views[part]), shifts[:, part]
            rows = torch.lerp(windows[..., :-1], windows[..., 1:], x)
            torch.lerp(rows[:, :, :-1], rows[:, :, 1:], y, out=out[part])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):  # pyright: ignore[reportIncompatibleMethodOverride]
        images, first, index = ctx.saved_tensors
        to_images, to_first, *_ = ctx.needs_input_grad
        size = grad.shape[-1]
        total = torch.zeros_like(images) if to_images else images
        views, shifts = _windows(total, first, index, size)
        sources = _windows(images, first, index, size)[0] if to_first else []
        dfirst = torch.empty_like(first) if to_first else None
        for part in _parts(images, len(first), size):
            g, (x, y) = grad[part], shifts[:, part]
            drows = _spread(g, y, 2)
            if dfirst is not None:
                windows = torch.stack(sources[part])
                rows = torch.lerp(windows[..., :-1], windows[..., 1:], x)
                dfirst[part, 0] = (drows * (windows[..., 1:] - windows[..., :-1])).sum((1, 2, 3))
                dfirst[part, 1] = (g * (rows[:, :, 1:] - rows[:, :, :-1])).sum((1, 2, 3))
            if to_images:
                torch._foreach_add_(views[part], _spread(drows, x, 3).unbind(0))  # one after the other, on a CPU
        return total if to_images else None, dfirst, None, None


def _windows(
    images: Tensor, first: Tensor, index: Tensor, size: int
) -> tuple[list[Tensor], Float[Tensor, "2 b 1 1 1"]]:
    """The window of each patch, as a view, and the patches' shifts in x and y."""
    corner = first.floor()
    sn, sc, sh, sw = images.stride()
    shape, strides = (images.shape[1], size + 1, size + 1), (sc, sh, sw)
    places = zip(index.tolist(), corner.long().tolist(), strict=True)
    start = images.storage_offset()
    views = [images.as_strided(shape, strides, start + n * sn + row * sh + column * sw) for n, (column, row) in places]
    return views, (first - corner).t()[:, :, None, None, None]


def _parts(images: Tensor, patches: int, size: int) -> list[slice]:
    """Some patches at a time."""
    count = max(_CHUNK // (images.shape[1] * (size + 1) ** 2), 1)
    return [slice(start, start + count) for start in range(0, patches, count)]


def _spread(g: Tensor, share: Tensor, axis: int) -> Tensor:
    """The way back of a blend of neighbours along an axis, which is one longer."""
    shape = list(g.shape)
    shape[axis] += 1
    out = g.new_empty(shape)
    size = g.shape[axis]
    torch.mul(g, 1 - share, out=out.narrow(axis, 0, size))
    out.select(axis, size).zero_()
    out.narrow(axis, 1, size).addcmul_(g, share)
    return out
