"""Cases of `benchmarks.ops` on images: patches gathered, and blocks put together."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmarks.ops_case import Case, both_ways
from scorereg.ops import gather_patches, gather_patches_reference, scatter_patches

__all__ = ["cases"]

_PHOTOS, _HEIGHT, _WIDTH = 3, 378, 504  # three views of a forward-facing scene


def cases(device: str) -> Iterator[Case]:
    """All of them, each built when it is its turn."""
    for size in (24, 48):
        for patches in (66, 258):
            yield _gather(device, size, patches, 1.0, "images")
        yield _gather(device, size, 258, 1.0, "images and corners")
        yield _gather(device, size, 66, 3.3, "images")
        yield _gather(device, size, 66, 1.0, "images", slow=True)
    yield _scatter(device, 512, 24)


def _gather(device: str, size: int, patches: int, pitch: float, to: str, *, slow: bool = False) -> Case:
    images = torch.rand(_PHOTOS, 3, _HEIGHT, _WIDTH, device=device, requires_grad=True)
    index = torch.arange(_PHOTOS, device=device).repeat_interleave(patches // _PHOTOS)
    room = torch.tensor([_WIDTH, _HEIGHT], device=device) - pitch * size - 2
    corners = (torch.rand(patches, 2, device=device) * room + 1).requires_grad_("corners" in to)
    wanted = [images, corners] if "corners" in to else [images]

    def runs(function: Callable[..., Tensor], *given) -> Callable[[], None]:
        return both_ways(lambda: (function(images, corners, size, *given),), wanted)

    ways = {"ours": runs(lambda i, c, p: gather_patches(i, c, p, pitch, index=index)[0])}
    if slow:
        ways["definition"] = runs(lambda i, c, p: gather_patches_reference(i, c, p, pitch, index=index)[0])
        if size < 30:  # torch's way back of an unfolded view takes seconds
            ways["unfold"] = runs(_unfold, index)
    elif pitch > 1:
        ways["summed areas"] = runs(_summed_areas, pitch, index)
    else:
        ways["grid_sample"] = runs(_grid_sample)
    what = f"{patches} of {size}, pitch {pitch:g}, forward and backward to {to}"
    moved = 4 * (4 * patches * 3 * size**2 + images.numel())  # read, write, read, add; and the gradient's zeros
    return Case("gather_patches", what, ways, repeats=3 if slow else 31, bytes=moved if pitch == 1 else None)


def _grid_sample(images: Tensor, corners: Tensor, size: int) -> Tensor:
    """The same number of patches from each image, so that no image is copied: the best that it can do."""
    offset = torch.arange(size, device=images.device) + 0.5
    x, y = (corners[:, axis, None] + offset for axis in (0, 1))
    x, y = x[:, None].expand(-1, size, -1), y[:, :, None].expand(-1, -1, size)
    grid = torch.stack([2 * x / _WIDTH - 1, 2 * y / _HEIGHT - 1], -1).reshape(_PHOTOS, -1, size, 2)
    shown = torch.nn.functional.grid_sample(images, grid, align_corners=False, padding_mode="border")
    return shown.reshape(_PHOTOS, 3, -1, size, size).transpose(1, 2).reshape(-1, 3, size, size)


def _summed_areas(images: Tensor, corners: Tensor, size: int, pitch: float, index: Tensor) -> Tensor:
    """Differences of a table of sums over all pixels above and to the left, in float64."""
    table = torch.nn.functional.pad(images.double(), (1, 0, 1, 0)).cumsum(2).cumsum(3)
    edges = corners[:, None].double() + pitch * torch.arange(size + 1, device=images.device)[:, None]
    low = edges.floor().long()
    (j, i), (u, v) = low.unbind(-1), (edges - low).unbind(-1)
    n, (u, v) = index[:, None, None], (u[:, None, :, None], v[:, :, None, None])
    i, j = i[:, :, None], j[:, None]
    upper = torch.lerp(table[n, :, i, j], table[n, :, i, j + 1], u)
    lower = torch.lerp(table[n, :, i + 1, j], table[n, :, i + 1, j + 1], u)
    return (torch.lerp(upper, lower, v).diff(dim=1).diff(dim=2) / pitch**2).movedim(-1, 1).float()


def _unfold(images: Tensor, corners: Tensor, size: int, index: Tensor) -> Tensor:
    """Windows by indexing an unfolded view, blended; torch's gradient."""
    corner = corners.floor().long()
    x, y = (corners - corner)[:, :, None, None, None].unbind(1)
    windows = images.unfold(2, size + 1, 1).unfold(3, size + 1, 1)[index, :, corner[:, 1], corner[:, 0]]
    rows = torch.lerp(windows[..., :-1], windows[..., 1:], x)
    return torch.lerp(rows[:, :, :-1], rows[:, :, 1:], y)


def _scatter(device: str, side: int, block: int) -> Case:
    """Tiles that overlap by half, as `TiledPrior` puts them together."""
    start = torch.arange(0, side - block + 1, block // 2)
    corners = torch.cartesian_prod(start, start).to(device)
    patches = torch.randn(len(corners), 4, block, block, device=device, requires_grad=True)
    window = torch.rand(block, block, device=device) + 0.1
    runs = {
        "ours": lambda p: scatter_patches(p, corners, (side, side), window=window)[0],
        "index_add": lambda p: _index_add(p, corners, side, window),
    }
    what = f"{len(corners)} of {block}, overlapping by half, forward and backward"
    return Case("scatter_patches", what, {k: both_ways(lambda f=f: (f(patches),), [patches]) for k, f in runs.items()})


def _index_add(patches: Tensor, corners: Tensor, side: int, window: Tensor) -> Tensor:
    place = torch.arange(len(window), device=patches.device)
    at = ((corners[:, :1] + place)[:, :, None] * side + (corners[:, 1:] + place)[:, None]).flatten()
    total = window.new_zeros(side**2).index_add(0, at, window.flatten().repeat(len(patches)))
    sums = patches.new_zeros(side**2, patches.shape[1]).index_add(
        0, at, (patches * window).movedim(1, -1).flatten(0, 2)
    )
    return (sums / total.where(total > 0, 1)[:, None]).T.unflatten(1, (side, side))
