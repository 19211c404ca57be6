"""Pictures of a fit: depth as color, labelled grids of images, videos."""

import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8, UInt16
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from scorereg._io import write_beside

__all__ = [
    "COLOR_SPREAD", "DEPTH_SPREAD", "NO_FFMPEG", "apply_palette", "as_bytes", "has_ffmpeg", "hatch", "labelled_grid",
    "paint_depth", "paint_error", "paint_spread", "save", "save_png", "save_video",
]  # fmt: skip

COLOR_SPREAD, DEPTH_SPREAD = 0.2, 0.5
"""Spreads of color and of depth that are drawn brightest."""

NO_FFMPEG = "Install it: pip install 'imageio[ffmpeg]'"
"""What to do where `has_ffmpeg` says no."""

_GAP, _LABEL = 4, 22


def apply_palette(value: Float[Tensor, "h w"], *, palette: str) -> Float[Tensor, "h w 3"]:
    """Return values in [0, 1] as colors of a matplotlib palette."""
    import matplotlib

    table = matplotlib.colormaps[palette](value.clamp(0, 1).cpu().numpy())[..., :3]
    return torch.from_numpy(table).float()


def paint_depth(depth: Float[Tensor, "h w"], near: float, far: float) -> Float[Tensor, "h w 3"]:
    """Return depth as color: inverse depth from far (dark) to near (bright); unknown depth, 0, is black."""
    inverse = (1 / depth.clamp_min(1e-6) - 1 / far) / (1 / near - 1 / far)
    return torch.where(depth[..., None] > 0, apply_palette(inverse.sqrt(), palette="magma"), torch.zeros(3))


def paint_error(depth: Float[Tensor, "h w"], truth: Float[Tensor, "h w"], worst: float = 0.5) -> Float[Tensor, "h w 3"]:
    """Return relative depth error as color, from 0 (black) to `worst` (white); black where the truth is unknown."""
    error = (depth - truth).abs() / truth.clamp_min(1e-6) / worst
    return apply_palette(torch.where(truth > 0, error, torch.zeros_like(error)), palette="inferno")


def paint_spread(spread: Float[Tensor, "h w"], worst: float) -> Float[Tensor, "h w 3"]:
    """Return the spread of an ensemble's members as color, from 0 (dark) to `worst` (bright)."""
    return apply_palette(spread / worst, palette="viridis")


def hatch(image: Float[Tensor, "h w 3"], mask: Bool[Tensor, "h w"] | None) -> Float[Tensor, "h w 3"]:
    """Return an image with grey diagonal stripes in place of the pixels that do not count; as it is without a mask."""
    if mask is None:
        return image
    row, column = torch.meshgrid(torch.arange(mask.shape[0]), torch.arange(mask.shape[1]), indexing="ij")
    stripes = torch.where((row + column) % 8 < 4, 0.55, 0.75)
    return torch.where(mask[..., None], image, stripes[..., None])


def labelled_grid(rows: list[tuple[str, list[Tensor | None]]], columns: list[str]) -> Tensor:
    """Return images of one size in labelled rows and columns; a missing image stays white."""
    height, width = next(image for _, images in rows for image in images if image is not None).shape[:2]
    margin = 96
    size = (margin + len(columns) * (width + _GAP), _LABEL + len(rows) * (height + _GAP))
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    for j, name in enumerate(columns):
        draw.text((margin + j * (width + _GAP) + 4, 2), name, fill="black", font=font)
    for i, (name, images) in enumerate(rows):
        top = _LABEL + i * (height + _GAP)
        draw.multiline_text((4, top + 4), name, fill="black", font=font)
        for j, image in enumerate(images):
            if image is not None:
                sheet.paste(Image.fromarray(as_bytes(image)), (margin + j * (width + _GAP), top))
    return torch.from_numpy(np.array(sheet)).float() / 255


def save(image: Float[Tensor, "h w 3"], path: Path) -> None:
    """Write an image in [0, 1] as PNG."""
    save_png(as_bytes(image), path)


def save_png(image: UInt8[np.ndarray, "h w *c"] | UInt16[np.ndarray, "h w"], path: Path) -> None:
    """Write an array of 8 or 16 bits as PNG, renamed into place when complete."""
    write_beside(path, lambda beside: Image.fromarray(image).save(beside, format="PNG"))


def save_video(frames: Sequence[UInt8[np.ndarray, "h w 3"]], path: Path, *, fps: int = 15) -> None:
    """Write an mp4 of images of one size; their sides are cropped to even numbers, as the codec needs.

    Raises:
        OSError: If it cannot be written.
    """
    if not has_ffmpeg():
        raise OSError(f"{path} cannot be written, as there is no ffmpeg. {NO_FFMPEG}, or write no video.")
    import imageio.v2 as imageio

    height, width = (side // 2 * 2 for side in frames[0].shape[:2])
    cut = [frame[:height, :width] for frame in frames]

    def write(beside: Path) -> None:
        part = beside.with_suffix(".mp4")  # by which imageio knows the kind
        try:
            imageio.mimwrite(part, cut, fps=fps, codec="libx264", quality=7, macro_block_size=2)  # pyright: ignore
            if not _is_whole(part):  # ffmpeg may end early without a word
                raise OSError(f"{path} cannot be written (ffmpeg stopped). Free some space, or write no video.")
            part.replace(beside)
        finally:
            part.unlink(missing_ok=True)

    write_beside(path, write)


def has_ffmpeg() -> bool:
    """Whether videos can be written."""
    if find_spec("imageio") is None or find_spec("imageio_ffmpeg") is None:
        return False
    from imageio_ffmpeg import get_ffmpeg_exe

    try:
        return shutil.which(get_ffmpeg_exe()) is not None  # IMAGEIO_FFMPEG_EXE may name what is not there
    except RuntimeError:
        return False


def _is_whole(path: Path) -> bool:
    """Whether an mp4 ends where its last box does, and has its index, which is written last."""
    data, at, kinds = path.read_bytes(), 0, set[bytes]()
    while at + 8 <= len(data):
        kinds.add(data[at + 4 : at + 8])
        size = int.from_bytes(data[at : at + 4], "big")
        at += size if size != 1 else int.from_bytes(data[at + 8 : at + 16], "big")
        if size == 0:
            return False
    return at == len(data) and b"moov" in kinds


def as_bytes(image: Float[Tensor, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """Return an image in [0, 1] as 8 bits."""
    return (image.clamp(0, 1) * 255 + 0.5).byte().cpu().numpy()
