"""Encode a frame as bytes: 8-bit colour as lossless WebP, inverse depth and further maps as 16-bit PNG.

rgb.webp     colour
depth.png    inverse depth: 0 is unknown, q in 1 .. 65535 is (q - 1) / 65534 * inverse_max, in 1/m
NAME.png     a map: 0 is unknown, q is (q - 1) / 65534 * 2 - 1; several values per pixel lie one above the other
json         scene, file, focal length (null where unknown) and size in pixels
"""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from scorereg.data.channels import COLOR, DEPTH
from scorereg.data.frames.frame import Frame, Planes
from scorereg.data.frames.resample import as_bytes, reduce_known, reduce_plane
from scorereg.files.pixels import MOST_PIXELS

__all__ = ["decode", "encode"]

_STEPS = 65534
_LONGEST = 1e6  # pixels of a focal length


def encode(
    frame: Frame, planes: Planes, *, focal: float, inverse_max: float, color: np.ndarray | None = None
) -> dict[str, bytes]:
    """Reduce a frame to a focal length and encode it; returns the content of its files, by their name's end.

    Args:
        frame: The frame.
        planes: Its maps.
        focal: Focal length to reduce to, in pixels; a shorter or unknown one is kept as it is.
        inverse_max: Largest inverse depth, in 1/m; larger ones are clipped.
        color: Colours that are reduced already, from 0 to 255, in place of all maps.
    """
    down, across = frame.factors(focal)
    small = (frame.focal[0] * across, frame.focal[1] * down) if frame.focal else None
    if color is None and planes.color is not None:
        color = reduce_plane(planes.color, down, across)
    files = {}
    if color is not None:
        files["rgb.webp"] = _image(as_bytes(color), "WEBP", lossless=True, quality=50, method=4)
    size = (
        list(color.shape[:2])
        if color is not None
        else [int(n * f + 1e-6) for n, f in zip(planes.size, (down, across), strict=True)]
    )
    if planes.metres is not None:
        inverse = reduce_known(np.minimum(1 / planes.metres, np.float32(inverse_max)), down, across)
        files["depth.png"] = _image(_steps(inverse / inverse_max), "PNG")
    for name, value in planes.maps.items():
        parts = [reduce_known(np.ascontiguousarray(value[..., k]), down, across) for k in range(value.shape[2])]
        files[f"{name}.png"] = _image(_steps((np.concatenate(parts) + 1) / 2), "PNG")
    meta = {"scene": frame.scene, "file": f"{frame.file.parent.name}/{frame.file.name}", "focal": small, "size": size}
    return {**files, "json": json.dumps(meta).encode()}


def decode(key: str, files: dict[str, bytes], *, inverse_max: float, maps: tuple[str, ...]) -> tuple[Frame, Planes]:
    """Decode a frame of `encode`.

    Args:
        key: Name of the frame in its shard.
        files: Content of its files, by their name's end.
        inverse_max: The value that was passed to `encode`.
        maps: Names of the maps to decode.
    """
    meta = json.loads(files["json"])
    size, focal = _checked(meta)
    color = metres = None
    if COLOR in maps and "rgb.webp" in files:
        color = _array(files["rgb.webp"], "WEBP", (*size, 3)).astype(np.float32)
    if DEPTH in maps and "depth.png" in files:
        inverse = _values(_array(files["depth.png"], "PNG", size)) * np.float32(inverse_max)
        with np.errstate(divide="ignore"):  # 0 is infinitely far
            metres = 1 / inverse
    others = {}
    for name in maps:
        if name not in (COLOR, DEPTH) and f"{name}.png" in files:
            value = _values(_array(files[f"{name}.png"], "PNG", (-1, size[1]))) * 2 - 1
            others[name] = value.reshape(-1, *size).transpose(1, 2, 0)
    frame = Frame(meta["scene"], Path(meta["file"]), Path(key), focal, 1.0)
    return frame, Planes(color, metres, others)


def _checked(meta: dict[str, Any]) -> tuple[tuple[int, int], tuple[float, float] | None]:
    """Rows and columns of a frame, and its focal length."""
    size, focal = tuple(meta["size"]), None if meta["focal"] is None else tuple(meta["focal"])
    if len(size) != 2 or not all(type(n) is int and n > 0 for n in size) or size[0] * size[1] > MOST_PIXELS:
        raise ValueError(f"its size is {size!r:.60}")
    if focal and (len(focal) != 2 or not all(isinstance(f, int | float) and 0 < f < _LONGEST for f in focal)):
        raise ValueError(f"its focal length is {focal!r:.60}")
    if not isinstance(meta["scene"], str) or not isinstance(meta["file"], str):
        raise ValueError("its scene or file is no text")
    return size, focal


def _image(value: np.ndarray, kind: str, **options: object) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(value).save(out, format=kind, **options)
    return out.getvalue()


def _array(data: bytes, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """Decode a picture of the kind that `encode` writes, and of no other; -1 of the shape is any number."""
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=[kind]) as image:
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"a picture has {image.width}x{image.height} pixels")
        value = np.asarray(image)
    if len(value.shape) != len(shape) or any(n not in (-1, m) for n, m in zip(shape, value.shape, strict=True)):
        raise ValueError(f"a picture has the shape {value.shape}, not {shape}")
    return value


def _steps(share: np.ndarray) -> np.ndarray:
    """Quantise [0, 1] to 1 .. 65535, NaN to 0."""
    return np.where(np.isfinite(share), 1 + np.rint(np.clip(share, 0, 1) * _STEPS), 0).astype(np.uint16)


def _values(stored: np.ndarray) -> np.ndarray:
    return np.where(stored > 0, (stored.astype(np.float32) - 1) / np.float32(_STEPS), np.float32(np.nan))
