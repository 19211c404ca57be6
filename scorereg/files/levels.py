"""Colours in [0, 1] and alpha out of decoded pixels of any kind."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from scorereg.files.pixels import Facts, Refused

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["check_unit_range", "levels_of", "on_white"]

_Color = Float[np.ndarray, "h w 3"]
_Alpha = Float[np.ndarray, "h w"]
_TOLERANCE = 1e-3  # float pictures may leave [0, 1] by rounding


def levels_of(path: Path, image: "Image", facts: Facts) -> tuple[_Color, _Alpha | None]:
    """Colours and alpha of a picture, or of a part of one, in [0, 1]: the largest number of its type is 1.

    Args:
        path: The file, which errors name.
        image: Its pixels.
        facts: Its header.

    Raises:
        Refused: If its numbers do not say what white is: floats beyond [0, 1], NaN, or integers of 32 bits.
    """
    key = image.info.get("transparency")
    if facts.grey and image.mode != "L":
        value = _grey(path, image, facts)
        alpha = None if key is None else _differs(image, int(key)).astype(np.float32)
        return np.repeat(value[..., None], 3, 2), alpha
    if image.mode in ("RGBA", "RGBa", "LA", "PA") or (image.mode == "P" and key is not None):
        rgba = np.asarray(image.convert("RGBA"))
        return _unit(rgba[..., :3]), _unit(rgba[..., 3])
    color = np.asarray(_lab(image) if image.mode == "LAB" else image.convert("RGB"))
    return _unit(color), None if key is None else _keyed(color, key, facts)


def on_white(color: _Color, alpha: _Alpha | None) -> _Color:
    """A picture before a white background: a c + 1 - a."""
    return color if alpha is None else color * alpha[..., None] + (1 - alpha[..., None])


def check_unit_range(path: Path, value: np.ndarray) -> np.ndarray:
    """Return floats that are in [0, 1], but for rounding.

    Raises:
        Refused: If they are not, or NaN.
    """
    low, high = float(value.min()), float(value.max())
    if not (low >= -_TOLERANCE and high <= 1 + _TOLERANCE):  # NaN, too
        what = "NaN" if np.isnan(low) else f"numbers from {low:.4g} to {high:.4g}"
        raise Refused(f"{path} is a picture of floats, which are read as [0, 1], but it holds {what}. Rescale it.")
    return np.clip(value, 0, 1)


def _unit(value: np.ndarray) -> np.ndarray:
    return value.astype(np.float32) / np.float32(255)


def _grey(path: Path, image: "Image", facts: Facts) -> _Alpha:
    """Grey of other kinds than 8 bits."""
    value = np.asarray(image)
    if image.mode == "F":
        return check_unit_range(path, value).astype(np.float32)
    if facts.bits == 32:
        raise Refused(
            f"{path} is a picture of 32-bit or signed integers, whose white is not known. Save it with 8 or 16 bits."
        )
    most = 1 if image.mode == "1" else 4095 if ";12" in facts.raw else 65535
    value = value.astype(np.float32) / np.float32(most)
    return 1 - value if facts.inverted else value


def _differs(image: "Image", key: int) -> np.ndarray:
    value = np.asarray(image)
    return value != (key > 0 if image.mode == "1" else key)


def _keyed(color: np.ndarray, key: object, facts: Facts) -> _Alpha:
    """Alpha of a picture one of whose colours is transparent; PNG names it in the file's own bits."""
    if facts.format == "PNG" and facts.mode == "L":
        key = int(str(key)) * {"L;2": 85, "L;4": 17}.get(facts.raw, 1)
    values = np.array(key if isinstance(key, tuple) else [key] * 3)
    values = values >> 8 if facts.bits == 16 else values
    return (color != values).any(-1).astype(np.float32)


def _lab(image: "Image") -> "Image":
    from PIL import ImageCms

    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    turned = ImageCms.applyTransform(image, ImageCms.buildTransform(lab, srgb, "LAB", "RGB"))
    assert turned is not None, "only a transform in place returns nothing"
    return turned
