"""`gather_patches` in plain torch: the mean over boxes is separable, two products of small matrices a patch.

A window of the image is cut around each patch and multiplied by the shares of its rows and columns, some windows at a
time, in float64. Gradients are added to the images window by window, in order: the same sum on every run.
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
    corners: Pairs, pitch: Pairs, size: int, width: int, height: int
) -> tuple[Ends, Ends, Bool[Tensor, "b p 2"]]:
    """Low and high ends of the patch pixels' footprints along x and y, and whether their middles are in the image.

    Those of pixels outside are empty. In float64; differentiable to the corners.
    """
    edges = corners[:, None] + torch.arange(size + 1, device=corners.device).to(pitch)[:, None] * pitch[:, None]
    low, high = edges[:, :-1].double(), edges[:, 1:].double()
    middle, extent = ((low + high) / 2).detach(), torch.stack([low.new_full((), width), low.new_full((), height)])
    inside = (middle >= 0) & (middle <= extent)  # nothing that is not a number is
    wider = (1 - (high - low)).clamp_min(0) / 2
    low, high = (low - wider).clamp_min(0), torch.minimum(high + wider, extent)
    nearest = torch.minimum(middle.nan_to_num().clamp_min(0), extent)
    return torch.where(inside, low, nearest), torch.where(inside, high, nearest), inside


def shares(low: Ends, high: Ends, first: Int[Tensor, "b 2"], columns: int, rows: int) -> tuple[Tensor, Tensor]:
    """Shares of the footprints in the columns [b, p, columns] and the rows [b, p, rows] of an image from `first` on.

    Those of an empty footprint are 0.
    """
    low, high, count = low.mT, high.mT, max(columns, rows)
    start, width = low.detach().floor(), high - low
    most = int((high.detach() - start).amax().ceil())  # pixels that a footprint touches
    pixel = start[..., None] + torch.arange(most, device=low.device)
    overlap = torch.minimum(high[..., None], pixel + 1) - torch.maximum(low[..., None], pixel)
    share = overlap.clamp_min(0) / torch.where(width > 0, width, 1)[..., None]
    place = (pixel.long() - first[..., None, None]).clamp_max(count - 1)  # a share beyond is 0
    both = share.new_zeros(*low.shape, count).scatter_add(3, place, share)
    return both[:, 0, :, :columns], both[:, 1, :, :rows]


def gather_eager(images: Images, low: Ends, high: Ends, index: Index) -> Float[Tensor, "b c p p"]:
    """Means over footprints of at least one patch; `index` is the image of each."""
    first, last = low.detach()[:, 0].floor().long(), high.detach()[:, -1].ceil().long()
    side = (last - first).amax(0).clamp_min(1)
    columns, rows = side.tolist()
    first = torch.minimum(first, first.new_tensor([images.shape[3], images.shape[2]]) - side)
    right, down = shares(low, high, first, columns, rows)
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
            rows = down[part] @ torch.stack(windows).flatten(2).to(down)
            out[part] = (_by_column(rows, right) @ right[part].mT).unflatten(1, (down.shape[1], -1)).transpose(1, 2)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):  # pyright: ignore[reportIncompatibleMethodOverride]
        images, *both, first, index = ctx.saved_tensors
        exact = grad.double() if images.dtype == torch.float64 else grad.float()
        down, right = (x.to(exact) for x in both)
        to_images, to_down, *_ = ctx.needs_input_grad
        total = torch.zeros_like(images, dtype=exact.dtype) if to_images else images
        ddown, dright = (torch.empty_like(x) if to_down else None for x in both)
        targets = _windows(total, down, right, first, index)
        for (part, windows), (_, added) in zip(_windows(images, down, right, first, index), targets, strict=True):
            g = exact[part].transpose(1, 2).flatten(1, 2)  # [b, p c, p]
            drows = (g @ right[part]).unflatten(1, (down.shape[1], -1)).flatten(2)  # [b, p, c columns]
            if ddown is not None and dright is not None:
                window = torch.stack(windows).flatten(2).to(exact)
                ddown[part] = drows @ window.mT
                dright[part] = g.mT @ _by_column(down[part] @ window, right)
            if to_images:
                add_in_order(added, (down[part].mT @ drows).unflatten(2, (images.shape[1], -1)).unbind(0))
        return total.to(images.dtype) if to_images else None, ddown, dright, None, None


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
