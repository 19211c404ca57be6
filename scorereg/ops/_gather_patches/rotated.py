"""Bilinear patches of any scale and turn, by `grid_sample` on windows.

`grid_sample` shares out the images of a batch among threads. So a window is cut around each patch, and windows are the
batch: threads have equally much to do, and what is read and added to stays in the cache. Where patches leave out so
many pixels that windows would be far larger than they are, whole images are sampled, one after the other.
"""

import math

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from scorereg.ops._gather_patches.windows import parts, windows

__all__ = ["gather_turned", "positions"]

_LARGE = 8  # texels of a window for each pixel of its patch, from which on whole images are sampled
_HOW = (0, 1, False)  # of `grid_sampler_2d`: bilinear, the border's colours beyond it, corners of pixels at -1 and 1


def positions(frame: Float[Tensor, "b 4"], size: int) -> Float[Tensor, "b {size} {size} 2"]:
    """Where each patch pixel looks, of frames x, y, scale times cosine, scale times sine."""
    offset = torch.arange(size, device=frame.device, dtype=frame.dtype) - (size - 1) / 2
    x, y, along, across = frame[:, :, None, None].unbind(1)
    u, v = offset[None, None, :], offset[None, :, None]
    return torch.stack([x + along * u - across * v, y + across * u + along * v], -1)


def gather_turned(
    images: Float[Tensor, "n c h w"],
    frame: Float[Tensor, "b 4"],
    index: Int[Tensor, " b"],
    size: int,
    missing: Float[Tensor, "n 1 h w"] | None,
) -> tuple[Float[Tensor, "b c p p"], Float[Tensor, "b 1 p p"] | None, Bool[Tensor, "b p p"] | None]:
    """Values, values of another image at the same places, and which lie in the image: None where all do.

    Args:
        images: In the dtype of the frame.
        frame: Of each patch: x, y, scale times cosine, scale times sine.
        index: The image of each patch.
        size: Rows and columns of a patch.
        missing: The other image, of one channel.
    """
    center, extent = frame.detach()[:, :2], frame.new_tensor([images.shape[3], images.shape[2]])
    reach = frame.detach()[:, 2:].abs().sum(1, keepdim=True) * (size / 2)  # half a pixel more than is looked at
    widest = math.ceil(2 * reach.nan_to_num().max()) + 3
    rows, columns = (min(widest, side) for side in images.shape[2:])
    if rows * columns > _LARGE * size**2:
        rows, columns = images.shape[2:]
    side = frame.new_tensor([columns, rows])
    # a texel more on each side, unless the image ends there: `grid_sample` has no slope at a border
    corner = torch.minimum((center - reach).floor().nan_to_num() - 1, extent - side).clamp_min(0)
    grid = _grid(frame, corner, side, size)
    valid = None
    if not bool(((center >= reach) & (center + reach <= extent)).all()):
        position = positions(frame.detach(), size)
        valid = ((position >= 0) & (position <= extent)).all(-1)
        grid = torch.where(valid[..., None], grid, torch.zeros_like(grid))  # not a number, it would crash `grid_sample`

    def sampled(images: Tensor, grid: Tensor) -> Tensor:
        if (rows, columns) == images.shape[2:]:
            return _whole(images, grid, index)
        return _Windows.apply(images, grid, corner.long(), index, rows, columns)

    return sampled(images, grid), None if missing is None else sampled(missing, grid.detach()), valid


def _grid(
    frame: Float[Tensor, "b 4"], corner: Float[Tensor, "b 2"], side: Float[Tensor, "2"], size: int
) -> Float[Tensor, "b {size} {size} 2"]:
    """`positions` in windows, -1 and 1 at their borders: a sum over pixels, one pass."""
    offset = torch.arange(size, device=frame.device, dtype=frame.dtype)[:, None] - (size - 1) / 2
    origin = (frame[:, :2] - corner) * (2 / side) - 1
    right, across = frame[:, 2:] * (2 / side), torch.stack([-frame[:, 3], frame[:, 2]], -1) * (2 / side)
    rows, columns = origin[:, None] + offset * across[:, None], offset * right[:, None]
    pairs = torch.view_as_complex(rows)[:, :, None] + torch.view_as_complex(columns)[:, None]
    return torch.view_as_real(pairs)


class _Windows(torch.autograd.Function):
    """Patches out of windows, of which `corner` is the first texel; the grid is each window's own."""

    @staticmethod
    def forward(ctx, images, grid, corner, index, rows, columns):
        ctx.save_for_backward(images, grid, corner, index)
        ctx.window = rows, columns
        out = images.new_empty(len(grid), images.shape[1], *grid.shape[1:3])
        views = windows(images, corner, index, rows, columns)
        for part in parts(images, len(grid), rows * columns):
            out[part] = torch.grid_sampler_2d(torch.stack(views[part]), grid[part], *_HOW)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):  # pyright: ignore[reportIncompatibleMethodOverride]
        images, grid, corner, index = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:2]
        total, dgrid = (torch.zeros_like(x) if wants else None for x, wants in zip((images, grid), wanted, strict=True))
        views = [] if total is None else windows(total, corner, index, *ctx.window)
        sources = windows(images, corner, index, *ctx.window) if wanted[1] else []
        nothing = images.new_zeros(()).expand(len(grid), images.shape[1], *ctx.window)  # only its shape matters
        for part in parts(images, len(grid), math.prod(ctx.window)):
            shown = torch.stack(sources[part]) if wanted[1] else nothing[part]
            back, slope = torch.ops.aten.grid_sampler_2d_backward(grad[part], shown, grid[part], *_HOW, wanted)
            if dgrid is not None:
                dgrid[part] = slope
            if total is not None:
                torch._foreach_add_(views[part], back.unbind(0))  # one after the other, on a CPU
        return total, dgrid, None, None, None, None


def _whole(images: Tensor, grid: Float[Tensor, "b p p 2"], index: Int[Tensor, " b"]) -> Float[Tensor, "b c p p"]:
    """Image by image, so that no image is copied for a patch."""
    sorted_already = bool((index[1:] >= index[:-1]).all())
    order = index.argsort(stable=True)
    grids = grid if sorted_already else grid.index_select(0, order)
    grids = grids.split(torch.bincount(index, minlength=len(images)).tolist())
    shown = []
    for image, part in zip(images.unbind(0), grids, strict=True):
        if len(part):
            tall = rearrange(part, "b h w c -> 1 (b h) w c")
            patches = torch.nn.functional.grid_sample(image[None], tall, align_corners=False, padding_mode="border")
            shown.append(rearrange(patches, "1 c (b h) w -> b c h w", b=len(part)))
    together = torch.cat(shown)
    return together if sorted_already else together.index_select(0, order.argsort())
