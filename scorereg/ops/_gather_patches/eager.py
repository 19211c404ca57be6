"""`gather_patches` in plain torch: the mean over boxes is separable, two products of small matrices a patch.

A window of the image is cut around each patch and multiplied by the shares of its rows and columns, some windows at a
time. Windows are added to the gradient one by one, in order: the same sum on every run.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from scorereg.ops._overlap import add_in_order

__all__ = ["Ends", "Images", "Index", "Pairs", "footprints", "gather_eager", "shares"]

Images = Float[Tensor, "n c h w"]
Pairs = Float[Tensor, "b 2"]  # x and y of each patch
Ends = Float[Tensor, "b p 2"]  # of footprints, along x and y
Index = Int[Tensor, " b"]

_CHUNK = 1 << 18  # values of windows at a time and thread: they stay in its cache, and threads seldom wait


def footprints(
    centers: Pairs, scale: Pairs, size: int, width: int, height: int
) -> tuple[Ends, Ends, Bool[Tensor, "b p 2"]]:
    """Low and high ends of the patch pixels' footprints along x and y, and whether their middles are in the image.

    A pixel whose middle is not gets the footprint nearest to it. Differentiable to the centers.
    """
    offset = torch.arange(size, dtype=torch.float64, device=centers.device)[:, None] - (size - 1) / 2
    middle, half = centers[:, None] + scale[:, None] * offset, scale[:, None].clamp_min(1) / 2
    extent = centers.new_tensor([width, height])
    inside = (middle >= 0) & (middle <= extent)
    middle = torch.minimum(torch.where(inside, middle, middle.detach().nan_to_num()).clamp_min(0), extent)
    return (middle - half).clamp_min(0), torch.minimum(middle + half, extent), inside


def shares(
    low: Float[Tensor, "b p"], high: Float[Tensor, "b p"], first: Int[Tensor, " b"], count: int
) -> Float[Tensor, "b p {count}"]:
    """Share of each footprint, along one axis, that lies in each of `count` image pixels from `first` on."""
    start = low.detach().floor()
    most = int((high.detach() - start).amax().ceil())  # pixels that a footprint touches
    pixel = start[..., None] + torch.arange(most, device=low.device)
    overlap = torch.minimum(high[..., None], pixel + 1) - torch.maximum(low[..., None], pixel)
    share = overlap.clamp_min(0) / (high - low)[..., None]
    place = (pixel.long() - first[:, None, None]).clamp_max(count - 1)  # a share beyond is 0
    return share.new_zeros(*low.shape, count).scatter_add(2, place, share)


def gather_eager(images: Images, low: Ends, high: Ends, index: Index) -> Float[Tensor, "b c p p"]:
    """Means over footprints; `index` is the image of each patch, and there is at least one."""
    first, last = low.detach()[:, 0].floor().long(), high.detach()[:, -1].ceil().long()
    side = (last - first).amax(0)
    columns, rows = side.tolist()
    first = torch.minimum(first, first.new_tensor([images.shape[3], images.shape[2]]) - side)
    right = shares(low[..., 0], high[..., 0], first[:, 0], columns).to(images)
    down = shares(low[..., 1], high[..., 1], first[:, 1], rows).to(images)
    return _Windows.apply(images, down, right, first, index)  # pyright: ignore[reportReturnType]


class _Windows(torch.autograd.Function):
    """`down @ window @ right^T` for the window of each patch, whose first column and row are `first`.

    Windows are [rows, channels x columns]: one product for all channels.
    """

    @staticmethod
    def forward(ctx, images, down, right, first, index):
        ctx.save_for_backward(images, down, right, first, index)
        out = images.new_empty(len(down), images.shape[1], down.shape[1], right.shape[1])
        for part, windows in _windows(images, down, right, first, index):
            rows = down[part] @ torch.stack(windows).flatten(2)
            out[part] = (_by_column(rows, right) @ right[part].mT).unflatten(1, (down.shape[1], -1)).transpose(1, 2)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):  # pyright: ignore[reportIncompatibleMethodOverride]
        images, down, right, first, index = ctx.saved_tensors
        to_images, to_down, *_ = ctx.needs_input_grad
        total = torch.zeros_like(images) if to_images else images
        ddown, dright = (torch.empty_like(x) if to_down else None for x in (down, right))
        targets = _windows(total, down, right, first, index)
        for (part, windows), (_, added) in zip(_windows(images, down, right, first, index), targets, strict=True):
            g = grad[part].transpose(1, 2).flatten(1, 2)  # [b, p c, p]
            drows = (g @ right[part]).unflatten(1, (down.shape[1], -1)).flatten(2)  # [b, p, c columns]
            if ddown is not None and dright is not None:
                window = torch.stack(windows).flatten(2)
                torch.bmm(drows, window.mT, out=ddown[part])
                torch.bmm(g.mT, _by_column(down[part] @ window, right), out=dright[part])
            if to_images:
                add_in_order(added, (down[part].mT @ drows).unflatten(2, (images.shape[1], -1)).unbind(0))
        return total if to_images else None, ddown, dright, None, None


def _by_column(rows: Float[Tensor, "b p ck"], right: Tensor) -> Float[Tensor, "b pc k"]:
    return rows.unflatten(2, (-1, right.shape[2])).flatten(1, 2)


def _windows(images: Tensor, down: Tensor, right: Tensor, first: Int[Tensor, "b 2"], index: Tensor):
    """Some patches at a time: which, and a view [rows, channels, columns] for each."""
    sn, sc, sh, sw = images.stride()
    shape, strides = (down.shape[2], images.shape[1], right.shape[2]), (sh, sc, sw)
    offsets = (index * sn + (first * first.new_tensor([sw, sh])).sum(1) + int(images.storage_offset())).tolist()
    step = max(_CHUNK * torch.get_num_threads() // max(shape[0] * shape[1] * shape[2], 1), 1)
    for start in range(0, len(first), step):
        part = slice(start, start + step)
        yield part, [images.as_strided(shape, strides, offset) for offset in offsets[part]]
