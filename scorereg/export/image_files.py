"""Pictures of a rendered view as files: color, depth, opacity, normals and uncertainty."""

import tempfile
import warnings
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from scorereg._io import write_beside
from scorereg.export.frames import Frame
from scorereg.fit.pictures import COLOR_SPREAD, DEPTH_SPREAD, as_bytes, paint_spread, save_png

__all__ = ["KINDS", "write_depth_png", "write_frame"]

KINDS = ("color", "depth", "opacity", "normals", "uncertainty")
"""What of a view can be written."""

_MOST = 2**16 - 1


def write_frame(frame: Frame, out: Path, kinds: tuple[str, ...]) -> None:
    """Write some of a view's pictures into `out/KIND/NAME`.

    `color` and `opacity`: 8-bit PNG. `depth`: 16-bit PNG in millimetres, .npy in metres, and EXR (channel Z, metres)
    where the package OpenEXR is installed; 0 where unknown. `normals`: 8-bit PNG with (n + 1) / 2 as color, black where
    unknown, and .npy; n is in world coordinates and points towards the camera. `uncertainty`: how far the members of an
    ensemble differ, as .npy of shape (h, w, 2), the standard deviation of color and the relative one of depth, and as
    an 8-bit PNG of the first, bright at 0.2, beside the second, bright at 0.5.

    Raises:
        OSError: If a file cannot be written.
        ValueError: If the uncertainty of a single fit is asked for.
    """
    if "color" in kinds:
        save_png(as_bytes(frame.rgb), out / "color" / f"{frame.name}.png")
    if "opacity" in kinds:
        save_png(as_bytes(frame.opacity), out / "opacity" / f"{frame.name}.png")
    if "depth" in kinds:
        depth = frame.depth.numpy()
        write_depth_png(depth, out / "depth" / f"{frame.name}.png", unit=0.001)
        save_npy(depth, out / "depth" / f"{frame.name}.npy")
        if find_spec("OpenEXR") is not None:
            _save_exr(depth, out / "depth" / f"{frame.name}.exr")
    if "normals" in kinds:
        normals = frame.normals.numpy()
        known = (normals != 0).any(-1, keepdims=True)
        save_png(
            np.where(known, as_bytes((frame.normals + 1) / 2), 0).astype(np.uint8),
            out / "normals" / f"{frame.name}.png",
        )
        save_npy(normals, out / "normals" / f"{frame.name}.npy")
    if "uncertainty" in kinds:
        _write_uncertainty(frame, out / "uncertainty")


def _write_uncertainty(frame: Frame, folder: Path) -> None:
    if frame.spread is None or frame.depth_spread is None:
        raise ValueError("a fit of one member has no uncertainty. Fit several: scorereg fit --members 4.")
    painted = [paint_spread(frame.spread, COLOR_SPREAD), paint_spread(frame.depth_spread, DEPTH_SPREAD)]
    save_png(as_bytes(torch.cat(painted, 1)), folder / f"{frame.name}.png")
    save_npy(torch.stack([frame.spread, frame.depth_spread], -1).numpy(), folder / f"{frame.name}.npy")


def write_depth_png(depth: Float[np.ndarray, "h w"], path: Path, *, unit: float) -> None:
    """Write depth as a 16-bit PNG; 0 where unknown, or too large for it, of which a warning tells.

    Args:
        depth: In any unit of length.
        path: The file.
        unit: That unit's length of one step of the PNG.
    """
    steps = np.round(depth / unit)
    beyond = steps > _MOST
    if beyond.any():
        warnings.warn(
            f"{path.parent}: depth beyond {_MOST * unit:g} does not fit into a 16-bit PNG, and is 0 (unknown) there.",
            stacklevel=3,
        )
    save_png(np.where(beyond, 0, steps).astype(np.uint16), path)


def save_npy(array: np.ndarray, path: Path) -> None:
    """Write an array as .npy, renamed into place when complete."""
    buffer = BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_beside(path, lambda beside: beside.write_bytes(buffer.getvalue()))


def _save_exr(depth: Float[np.ndarray, "h w"], path: Path) -> None:
    import OpenEXR  # pyright: ignore[reportMissingImports]

    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}

    def write(beside: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:  # OpenEXR takes names in UTF-8 alone, and files have others
            plain = Path(folder) / "depth.exr"
            with OpenEXR.File(header, {"Z": np.ascontiguousarray(depth, np.float32)}) as file:
                file.write(str(plain))
            with OpenEXR.File(str(plain)) as file:
                whole = np.array_equal(file.channels()["Z"].pixels, depth)
            if not whole:  # OpenEXR may end early without a word
                raise OSError(f"{path} cannot be written (it is not whole). Free some space, or choose another folder.")
            beside.write_bytes(plain.read_bytes())

    write_beside(path, write)
