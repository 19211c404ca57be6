r"""Square patches of images, each of whose pixels is the mean over its footprint.

(x, y)    position in pixels from the image's upper left corner; the first pixel's center is (0.5, 0.5)
scale     s_x, s_y: distance of neighboring patch pixels in image pixels

The footprint of the patch pixel in column j and row i is a box of max(s_x, 1) by max(s_y, 1) around
`center + scale (j - (size - 1) / 2, i - (size - 1) / 2)`, cut off at the image's border. The image is taken as squares
of one value. So a patch that shows the image smaller is free of aliasing (a box filter), and at a scale of 1 or less
its values are bilinear between pixel centers and constant from the outermost ones to the border.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from scorereg.ops._gather_patches.eager import Ends, Images, Index, Pairs, footprints, gather_eager, shares
from scorereg.ops.dispatch import use_triton

__all__ = ["gather_patches", "gather_patches_reference"]

Scale = float | Float[Tensor, " b"] | Pairs


def gather_patches(
    images: Images, centers: Pairs, size: int, scale: Scale = 1.0, *, index: Index | None = None
) -> tuple[Float[Tensor, "b c {size} {size}"], Bool[Tensor, "b c {size} {size}"]]:
    """Cut patches out of images, as means over footprints, and tell which of their pixels lie in the image.

    Differentiable once, to the images and the centers. Positions are computed in float64.

    Args:
        images: In any memory format, float32 or half; sums are float32.
        centers: Position (x, y) of each patch's middle.
        size: Rows and columns of a patch, >= 1.
        scale: Distance of neighboring patch pixels in image pixels, > 0: one number, one a patch, or its x and y.
        index: Image of each patch; without it the only image, or the b-th image for the b-th patch.

    Returns:
        Patches in the dtype of the images, 0 where a pixel's middle is not in the image; and whether it is.

    Raises:
        ValueError: If `size` or `scale` is out of its range, or `index` is missing.
    """
    index, places = _index(index, len(images), len(centers)), _places(centers, size, scale)
    if use_triton(images):
        from scorereg.ops._gather_patches.kernels import gather_patches_triton  # imported only where it can run

        return gather_patches_triton(images, *places, index, size)
    return _gather(gather_eager if len(centers) else _definition, images, *places, index, size)


def gather_patches_reference(
    images: Images, centers: Pairs, size: int, scale: Scale = 1.0, *, index: Index | None = None
) -> tuple[Float[Tensor, "b c {size} {size}"], Bool[Tensor, "b c {size} {size}"]]:
    """The definition of `gather_patches` in plain torch, with torch's own gradients."""
    index, places = _index(index, len(images), len(centers)), _places(centers, size, scale)
    return _gather(_definition, images, *places, index, size)


def _gather(how, images: Tensor, centers: Tensor, scale: Tensor, index: Tensor, size: int) -> tuple[Tensor, Tensor]:
    low, high, inside = footprints(centers, scale, size, images.shape[3], images.shape[2])
    known = (inside[:, :, None, 1] & inside[:, None, :, 0])[:, None]
    patches = how(images if images.dtype == torch.float64 else images.float(), low, high, index)
    if not bool(known.all()):
        patches = torch.where(known, patches, 0.0)
    return patches.to(images.dtype), known.expand(patches.shape)


def _definition(images: Images, low: Ends, high: Ends, index: Index) -> Float[Tensor, "b c p p"]:
    """A sum over all pixels of an image, each weighted by its share of the footprint."""
    none = torch.zeros_like(index)
    right, down = (shares(low[..., a], high[..., a], none, images.shape[3 - a]).to(images) for a in (0, 1))
    return torch.einsum("bih,bchw,bjw->bcij", down, images[index], right)


def _places(centers: Tensor, size: int, scale: float | Tensor) -> tuple[Pairs, Pairs]:
    """Centers and scales along x and y in float64."""
    if size < 1 or (isinstance(scale, int | float) and not scale > 0):
        raise ValueError(f"gather_patches needs size >= 1 and scale > 0, but got {size} and {scale}.")
    scale = torch.as_tensor(scale, dtype=torch.float64, device=centers.device).detach()
    return centers.double(), (scale[:, None] if scale.ndim == 1 else scale).expand(len(centers), 2)


def _index(index: Tensor | None, images: int, patches: int) -> Index:
    if index is None and images not in (1, patches):
        raise ValueError(
            f"gather_patches needs index, the image of each patch: there are {images} images and {patches} patches."
        )
    if index is None:
        return torch.arange(patches) if images == patches else torch.zeros(patches, dtype=torch.long)
    return index
