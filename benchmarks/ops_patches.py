"""Cases of `benchmarks.ops` on images: patches gathered, and put together."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmarks.ops_case import Case, both_ways
from scorereg.ops import gather_patches, gather_patches_reference

__all__ = ["cases"]

_PHOTOS, _HEIGHT, _WIDTH = 3, 378, 504  # three views of a forward-facing scene


def cases(device: str) -> Iterator[Case]:
    """All of them, each built when it is its turn."""
    for size in (24, 48):
        yield _gather(device, size, 66)
        yield _gather(device, size, 258)
        yield _gather(device, size, 258, to="images and centers")
        yield _gather(device, size, 258, scale=1.7)
        yield _gather(device, size, 258, turn=0.5)
        yield _gather(device, size, 66, against="indexing")


def _gather(
    device: str,
    size: int,
    patches: int,
    *,
    scale: float = 1.0,
    turn: float | None = None,
    to: str = "images",
    against: str = "grid_sample",
) -> Case:
    each = patches // _PHOTOS
    images = torch.rand(_PHOTOS, 3, _HEIGHT, _WIDTH, device=device, requires_grad=True)
    index = torch.arange(_PHOTOS, device=device).repeat_interleave(each)
    room = torch.tensor([_WIDTH - 2.5 * size, _HEIGHT - 2.5 * size], device=device)
    centers = (torch.rand(patches, 2, device=device) * room + 1.25 * size).requires_grad_("centers" in to)
    wanted = [images, centers] if "centers" in to else [images]

    def runs(function: Callable[..., Tensor]) -> Callable[[], None]:
        return both_ways(lambda: (function(images, centers),), wanted)

    ways = {"ours": runs(lambda i, c: gather_patches(i, c, size, scale, turn, index=index)[0])}
    if against == "grid_sample":
        ways[against] = runs(lambda i, c: _grid_sample(i, c, size, scale, turn))
    else:
        if size < 30:  # torch's way back of an unfolded view takes seconds
            ways["unfold"] = runs(lambda i, c: _unfold(i, c, size, index))
        ways["indexing"] = runs(lambda i, c: gather_patches_reference(i, c, size, scale, turn, index=index)[0])
    place = f"scale {scale:g}" + ("" if turn is None else f", turned by {turn:g}")
    what = f"{patches} of {size}, {place}, bilinear, forward and backward to {to}"
    moved = 4 * (4 * patches * 3 * size**2 + images.numel())  # read, write, read, add; and the gradient's zeros
    return Case("gather_patches", what, ways, repeats=31 if against == "grid_sample" else 3, bytes=moved)


def _grid_sample(images: Tensor, centers: Tensor, size: int, scale: float, turn: float | None) -> Tensor:
    """The same number of patches from each image, so that no image is copied: the best that it can do."""
    offset = torch.arange(size, device=images.device) - (size - 1) / 2
    along, across = scale * math.cos(turn or 0.0), scale * math.sin(turn or 0.0)
    x = centers[:, 0, None, None] + along * offset - across * offset[:, None]
    y = centers[:, 1, None, None] + across * offset + along * offset[:, None]
    grid = torch.stack([2 * x / _WIDTH - 1, 2 * y / _HEIGHT - 1], -1).reshape(_PHOTOS, -1, size, 2)
    shown = torch.nn.functional.grid_sample(images, grid, align_corners=False, padding_mode="border")
    return shown.reshape(_PHOTOS, 3, -1, size, size).transpose(1, 2).reshape(-1, 3, size, size)


def _unfold(images: Tensor, centers: Tensor, size: int, index: Tensor) -> Tensor:
    """Windows by indexing an unfolded view, blended; torch's gradient."""
    first = centers - size / 2
    corner = first.floor().long()
    x, y = (first - corner)[:, :, None, None, None].unbind(1)
    windows = images.unfold(2, size + 1, 1).unfold(3, size + 1, 1)[index, :, corner[:, 1], corner[:, 0]]
    rows = torch.lerp(windows[..., :-1], windows[..., 1:], x)
    return torch.lerp(rows[:, :, :-1], rows[:, :, 1:], y)
