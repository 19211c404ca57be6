r"""Square patches of images, each of whose pixels is the mean over its footprint.

(x, y)    position in pixels from the image's upper left corner; the first pixel's center is (0.5, 0.5)
pitch     distance of adjacent patch pixels along x and y, in image pixels

A patch is a window of its image, as `Cameras.windows` describes it. The footprint of the patch pixel in column j is the
interval `corner + pitch [j, j + 1]` along x, widened to one image pixel at least and cut off at the image's border, and
alike along y. The image is taken as squares of one value. So a patch that shows the image smaller is free of aliasing
(a box filter), and at a pitch of 1 or less its values are bilinear between pixel centers.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from scorereg.ops._gather_patches.eager import Ends, Images, Index, Pairs, footprints, gather_eager, shares
from scorereg.ops.dispatch import use_triton

__all__ = ["gather_patches", "gather_patches_reference"]

Pitch = float | Float[Tensor, " b"] | Pairs


def gather_patches(
    images: Images, corners: Pairs, size: int, pitch: Pitch = 1.0, *, index: Index | None = None
) -> tuple[Float[Tensor, "b c {size} {size}"], Bool[Tensor, "b c {size} {size}"]]:
    """Cut patches out of images, as means over footprints, and tell which of their pixels are in the image.

    Differentiable once, to the images and the corners.

    Args:
        images: Images in any memory format, float32 or half.
        corners: Position (x, y) of each patch's upper left corner. Positions are computed in its precision.
        size: Rows and columns of a patch, >= 1.
        pitch: Distance of adjacent patch pixels in image pixels, > 0: one number, one a patch, or its x and y.
        index: Image of each patch; if not given, the only image, or the b-th image for the b-th patch.

    Returns:
        Patches in the dtype of the images, 0 where a pixel's middle is not in the image; and whether it is.

    Raises:
        ValueError: If `size` or `pitch` is out of its range, or `index` is missing.
    """
    if use_triton(images):
        from scorereg.ops._gather_patches.kernels import gather_patches_triton  # imported only where it can run

        return _gather(gather_patches_triton, images, corners, size, pitch, index)
    return _gather(gather_eager, images, corners, size, pitch, index)


def gather_patches_reference(
    images: Images, corners: Pairs, size: int, pitch: Pitch = 1.0, *, index: Index | None = None
) -> tuple[Float[Tensor, "b c {size} {size}"], Bool[Tensor, "b c {size} {size}"]]:
    """The definition of `gather_patches` in plain torch, with torch's own gradients."""
    return _gather(_definition, images, corners, size, pitch, index)


def _gather(
    how, images: Images, corners: Pairs, size: int, pitch: Pitch, index: Index | None
) -> tuple[Float[Tensor, "b c {size} {size}"], Bool[Tensor, "b c {size} {size}"]]:
    if size < 1 or (isinstance(pitch, int | float) and not pitch > 0):
        raise ValueError(f"gather_patches needs size >= 1 and pitch > 0, but got {size} and {pitch}.")
    if index is None and len(images) not in (1, len(corners)):
        raise ValueError(
            f"gather_patches needs index, the image of each patch: there are {len(images)} images and {len(corners)} "
            "patches."
        )
    if index is None:
        index = torch.arange(len(corners), device=images.device) % len(images)
    corners = corners if corners.dtype == torch.float64 else corners.float()
    pitch = pitch.to(corners).detach() if isinstance(pitch, Tensor) else corners.new_full((), pitch)
    pitch = (pitch[:, None] if pitch.ndim == 1 else pitch).expand(len(corners), 2)
    low, high, inside = footprints(corners, pitch, size, images.shape[3], images.shape[2])
    some = len(corners) > 0
    patches = how(images, low, high, index) if some else images.new_zeros(0, images.shape[1], size, size)
    known = inside[:, :, None, 1] & inside[:, None, :, 0]
    return patches, known[:, None].expand(patches.shape)


def _definition(images: Images, low: Ends, high: Ends, index: Index) -> Float[Tensor, "b c p p"]:
    """A sum over all pixels of an image, each weighted by its share of the footprint."""
    exact = images if images.dtype == torch.float64 else images.float()
    right, down = shares(low, high, torch.zeros_like(index)[:, None].expand(-1, 2), images.shape[3], images.shape[2])
    return torch.einsum("bih,bchw,bjw->bcij", down.to(exact), exact[index], right.to(exact)).to(images.dtype)
