r"""Square patches out of images, at any place, scale and turn in the image's plane.

    (x, y)      position in pixels from the image's upper left corner; the first pixel's centre is (0.5, 0.5)
    offset      of the patch pixel in column j and row i from the patch's middle: (j, i) - (size - 1) / 2

A patch pixel looks at `center + scale R(rotation) offset`. Between pixel centres colours are bilinear, and beyond the
outermost centres they stay as they are, up to the image's border; outside they are 0, and not known.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from scorereg.ops._gather_patches.eager import gather_torch
from scorereg.ops._gather_patches.rotated import positions
from scorereg.ops.dispatch import use_triton

__all__ = ["gather_patches", "gather_patches_reference"]

Mode = Literal["nearest", "bilinear"]


def gather_patches(
    images: Float[Tensor, "n c h w"],
    centers: Float[Tensor, "b 2"],
    size: int,
    scale: float | Float[Tensor, " b"] = 1.0,
    rotation: float | Float[Tensor, " b"] | None = None,
    mode: Mode = "bilinear",
    *,
    index: Int[Tensor, " b"] | None = None,
    d_min: float | None = None,
) -> tuple[Float[Tensor, "b c {size} {size}"], Bool[Tensor, "b c {size} {size}"]]:
    r"""Cut patches, and say which of their values are known.

    With `d_min` they come as a prior takes them, in the same pass: the last channel is planar depth and becomes
    disparity, `2 d_min / max(z, d_min) - 1`, and the others go from [0, 1] to [-1, 1]. A depth of 0 is one that nobody
    measured; a value that it is part of is not known. As in `RGBD`, the gradient does not die below `d_min`.

    Differentiable once, to the images and to the centers; to these only in mode `"bilinear"`, and 0 where the image has
    come to its border.

    Args:
        images: In any memory format, float32 or half; sums are float32.
        centers: Position (x, y) of each patch's middle.
        size: Rows and columns of a patch.
        scale: Distance of neighbouring patch pixels in image pixels. A scale above 1 leaves pixels out: images that
            are to be shown smaller should be smoothed before.
        rotation: Angle in radians by which the patch is turned in the image, from its x axis to its y axis.
        mode: `"bilinear"`, or `"nearest"`: the colour of the pixel that a position lies in.
        index: Which image each patch is of; without it, of the only image, or the b-th patch of the b-th one.
        d_min: Depth in metres at which disparity is 1.

    Returns:
        Patches in the dtype of the images, and where they are known.

    Raises:
        ValueError: If it is not said which image a patch is of, or a size, mode or `d_min` is out of its range.
    """
    index = _index(index, len(images), len(centers))
    _check(size, mode, d_min)
    frame = _frame(centers, scale, rotation)
    if use_triton(images, frame):
        from scorereg.ops._gather_patches.kernels import gather_patches_triton  # imported only where it can run

        return gather_patches_triton(images, frame, index, size, mode, d_min)
    if mode == "nearest" or images.is_cuda or not len(centers):
        return gather_patches_reference(images, centers, size, scale, rotation, mode, index=index, d_min=d_min)
    values = images if images.dtype == torch.float64 else images.float()
    plain = gather_torch(values, frame.to(values), index, size, d_min is not None)
    return _known(*plain, images.dtype, d_min)


def gather_patches_reference(
    images: Float[Tensor, "n c h w"],
    centers: Float[Tensor, "b 2"],
    size: int,
    scale: float | Float[Tensor, " b"] = 1.0,
    rotation: float | Float[Tensor, " b"] | None = None,
    mode: Mode = "bilinear",
    *,
    index: Int[Tensor, " b"] | None = None,
    d_min: float | None = None,
) -> tuple[Float[Tensor, "b c {size} {size}"], Bool[Tensor, "b c {size} {size}"]]:
    """The definition, in plain torch and with torch's own gradients: what the others are tested against."""
    index = _index(index, len(images), len(centers))[:, None, None]
    position = positions(_frame(centers, scale, rotation), size)
    extent = position.new_tensor([images.shape[3], images.shape[2]])
    valid = ((position >= 0) & (position <= extent)).all(-1)
    position = torch.where(valid[..., None], position, torch.zeros_like(position))
    source = images.movedim(1, -1)
    if mode == "nearest":
        j, i = torch.minimum(position.detach().floor(), extent - 1).long().unbind(-1)
        values = source[index, i, j]
        unknown = (values[..., -1] <= 0).to(position)
    else:
        texel = torch.minimum((position - 0.5).clamp_min(0), extent - 1)
        low = torch.minimum(texel.detach().floor(), (extent - 2).clamp_min(0))
        values, unknown = torch.zeros(()), torch.zeros_like(position[..., 0])
        for right, down in ((0, 0), (1, 0), (0, 1), (1, 1)):
            share = [u if side else 1 - u for u, side in zip((texel - low).unbind(-1), (right, down), strict=True)]
            j, i = (low.long() + torch.tensor([right, down], device=low.device)).unbind(-1)
            color = source[index, i.clamp_max(images.shape[2] - 1), j.clamp_max(images.shape[3] - 1)]
            color = color.double() if images.dtype == torch.float64 else color.float()
            values = values + (share[0] * share[1])[..., None] * color
            unknown = unknown + (share[0] * share[1]).detach() * (color[..., -1] <= 0)
    return _known(values.movedim(-1, 1), unknown, valid, images.dtype, d_min)


def _frame(centers: Tensor, scale: float | Tensor, rotation: float | Tensor | None) -> Float[Tensor, "b 4"]:
    """Each patch's x, y, scale times cosine, scale times sine, in float32 at least; differentiable to x and y."""
    centers = centers if centers.dtype == torch.float64 else centers.float()
    scale = torch.as_tensor(scale, dtype=centers.dtype, device=centers.device).detach().expand(len(centers))
    if rotation is None:
        return torch.cat([centers, torch.stack([scale, torch.zeros_like(scale)], -1)], -1)
    turn = torch.as_tensor(rotation, dtype=centers.dtype, device=centers.device).detach()
    return torch.cat([centers, torch.stack([scale * turn.cos(), scale * turn.sin()], -1)], -1)


def _known(
    values: Tensor, unknown: Tensor | None, valid: Tensor | None, dtype: torch.dtype, d_min: float | None
) -> tuple[Tensor, Tensor]:
    """Patches with 0 outside, in prior space if `d_min` is given, and where they are known.

    Where unknown neighbours have less than a millionth of the weight, a value counts as known: rounding has as much.
    Without `valid`, all lie in the image.
    """
    inside = valid is None or bool(valid.all())
    if valid is None:
        valid = torch.ones((), dtype=torch.bool, device=values.device).expand(len(values), *values.shape[2:])
    known = valid[:, None].expand(values.shape)
    if d_min is not None and unknown is not None:
        depth = values[:, -1:]
        clamped = depth.detach().clamp_min(d_min)
        passed = clamped + (depth - depth.detach())  # the value is exactly `clamped`, the gradient to depth exactly 1
        values = 2 * torch.cat([values[:, :-1], d_min / passed], 1) - 1
        known = torch.cat([known[:, :-1], (valid & (unknown < 1e-6))[:, None]], 1)
    if not inside:
        values = torch.where(valid[:, None], values, torch.zeros_like(values))
    return values.to(dtype), known


def _index(index: Tensor | None, images: int, patches: int) -> Int[Tensor, " b"]:
    if index is None and images not in (1, patches):
        raise ValueError(
            f"gather_patches needs index, the image of each patch: there are {images} images and {patches} patches."
        )
    if index is None:
        return torch.arange(patches) if images == patches else torch.zeros(patches, dtype=torch.long)
    return index


def _check(size: int, mode: str, d_min: float | None) -> None:
    if size < 1 or mode not in ("nearest", "bilinear") or not (d_min is None or d_min > 0):
        raise ValueError(
            "gather_patches needs size >= 1, mode 'nearest' or 'bilinear' and d_min > 0 or none, "
            f"but got {size}, {mode!r} and {d_min}."
        )
