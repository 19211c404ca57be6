"""Bilinear patches in plain torch, fast.

Patches that are upright and at the images' own scale have one sub-pixel shift each: a window is cut around each, and
shifted windows are blended, without an index. Windows are added to the gradient one by one, in order: the same sum on
every run. Other patches are `gather_turned`'s.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from scorereg.ops._gather_patches.rotated import gather_turned
from scorereg.ops._gather_patches.windows import parts, windows

__all__ = ["gather_torch"]


def gather_torch(
    images: Float[Tensor, "n c h w"], frame: Float[Tensor, "b 4"], index: Int[Tensor, " b"], size: int, unknown: bool
) -> tuple[Float[Tensor, "b c p p"], Float[Tensor, "b p p"] | None, Bool[Tensor, "b p p"] | None]:
    """Values, how much of them comes from texels whose last channel is not positive, and which lie in the image.

    Args:
        images: In the dtype of the frame.
        frame: Of each patch: x, y, scale times cosine, scale times sine.
        index: The image of each patch.
        size: Rows and columns of a patch.
        unknown: Whether the second result is wanted.

    Returns:
        The second is None where it is not wanted, the third where all pixels lie in the image.
    """
    first = frame[:, :2] - size / 2  # texel that the first pixel looks at
    last = first.new_tensor([images.shape[3] - 1 - size, images.shape[2] - 1 - size])
    missing = (images.detach()[:, -1:] <= 0).to(images) if unknown else None
    upright = frame[:, 2:] == frame.new_tensor([1, 0])
    if bool((upright & (first >= 0) & (first <= last)).all()):
        values = _Shifted.apply(images, first, index, size)
        share = None if missing is None else _Shifted.apply(missing, first.detach(), index, size)
        valid = None
    else:
        values, share, valid = gather_turned(images, frame, index, size, missing)
    return values, None if share is None else share[:, 0], valid


class _Shifted(torch.autograd.Function):
    """Patches inside the images, of whole-pixel pitch; `first` is where, in texels, their first pixel looks."""

    @staticmethod
    def forward(ctx, images, first, index, size):
        ctx.save_for_backward(images, first, index)
        out = images.new_empty(len(first), images.shape[1], size, size)
        views, shifts = _windows(images, first, index, size)
        for part in parts(images, len(first), (size + 1) ** 2):
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
        for part in parts(images, len(first), (size + 1) ** 2):
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
    """The window of each patch, and the patches' shifts in x and y."""
    corner = first.floor()
    return windows(images, corner.long(), index, size + 1, size + 1), (first - corner).t()[:, :, None, None, None]


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
