"""OpenEXR: photos in linear light, and depth maps; read by the package OpenEXR of `scorereg[formats]`.

The picture is the display window; what the data window leaves out of it is transparent, or of unknown depth.
"""

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from scorereg.files.pixels import Refused, check_pixels
from scorereg.files.said import FileWarning

__all__ = ["exr_head", "read_exr_color", "read_exr_depth"]

_MAIN = ("combined", "beauty", "rgba", "rgb", "image")  # layers that hold the picture itself, as renderers name them


@dataclass(frozen=True)
class _Names:
    """Channels of a file.

    Args:
        path: The file.
        parts: Names of the channels of each part.
        size: Width and height of the display window.
    """

    path: Path
    parts: tuple[tuple[str, ...], ...]
    size: tuple[int, int]

    @property
    def all(self) -> list[tuple[int, str]]:
        return [(part, name) for part, names in enumerate(self.parts) for name in names]

    def refuse(self, what: str) -> Refused:
        """The error for channels that do not say which of them is meant."""
        names = [name for _, name in self.all]
        shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        return Refused(f"{self.path} holds the channels {shown}, {what}")


def exr_head(path: Path) -> tuple[tuple[int, int], bool]:
    """Read width and height, and whether a file holds no colours but one value a pixel, as depth maps do.

    Raises:
        OSError: If it cannot be opened.
        ValueError: If it is corrupt, too large, or OpenEXR is not installed.
    """
    names = _names(path)
    return names.size, not _layers(names)


def read_exr_color(path: Path) -> tuple[Float[np.ndarray, "h w 3"], Float[np.ndarray, "h w"] | None]:
    """Read colours, `R G B` or grey `Y`, and alpha: linear light with sRGB's curve, clipped to [0, 1], on white.

    Raises:
        ValueError: If it is corrupt, holds NaN, or several layers none of which is the picture.
    """
    names = _names(path)
    layers = _layers(names)
    if layers:
        chosen = [key for key in layers if key[1].rstrip(".").rpartition(".")[2].lower() in ("", *_MAIN)]
        if len(layers) > 1 and len(chosen) != 1:
            raise names.refuse("of several layers. Save the picture alone.")
        part, prefix = chosen[0] if chosen else layers[0]
        wanted = [(part, _cased(names, part, prefix + letter)) for letter in "RGB"]
    else:
        grey = [key for key in names.all if key[1].rpartition(".")[2] == "Y"] or names.all
        part, name = grey[0]
        if len(grey) != 1 or len(names.all) > 2:
            raise names.refuse("but a photo needs R, G and B, or Y alone. Save it as RGB.")
        prefix, wanted = name.rpartition(".")[0], [(part, name)] * 3
    clear = _cased(names, part, prefix + "A")
    arrays = _arrays(names, [*wanted, *([(part, clear)] if clear else [])], 0.0)
    alpha = np.clip(arrays[3], 0, 1) if clear else None
    color = np.stack(arrays[:3], -1)
    if np.isnan(color).any() or (alpha is not None and np.isnan(alpha).any()):
        raise Refused(f"{path} holds NaN. Render it again, or leave it out.")
    if alpha is not None:  # EXR's colours are multiplied with alpha
        color = np.where(alpha[..., None] > 0, color / np.maximum(alpha, 1e-6)[..., None], 0)
    clipped = float((color > 1).mean())
    if clipped > 0.5:
        words = f"has {clipped:.0%} of its values above 1, which become white. Lower its exposure."
        warnings.warn(FileWarning(path, words, "clipped"), stacklevel=3)
    color = _srgb(np.clip(color, 0, 1))
    if alpha is not None:
        color = color * alpha[..., None] + (1 - alpha[..., None])
    return color.astype(np.float32), None if alpha is None else alpha.astype(np.float32)


def read_exr_depth(path: Path) -> np.ndarray:
    """Read the channel of depth: `Z` or one named depth, else `Y`, `R`, or the only one; NaN outside the data window.

    Raises:
        ValueError: If it is corrupt, or none or several channels may be it.
    """
    names = _names(path)
    tests = (
        lambda name: name == "Z",
        lambda name: name.rpartition(".")[2] in ("Z", "depth", "Depth"),
        lambda name: "depth" in name.lower() and name[-2:] not in (".G", ".B", ".A"),
        lambda name: name == "Y",
        lambda name: True,
    )
    found = next(
        ([key for key in names.all if test(key[1])] for test in tests if any(test(n) for _, n in names.all)), []
    )
    if len(found) == 1:
        return _arrays(names, found, math.nan)[0]
    if {name for _, name in found} in ({"R", "G", "B"}, {"R", "G", "B", "A"}):  # as OpenCV writes grey
        red, green, blue = _arrays(names, [(found[0][0], letter) for letter in "RGB"], math.nan)
        if np.array_equal(red, green, equal_nan=True) and np.array_equal(red, blue, equal_nan=True):
            return red
        raise names.refuse("which are colours: depth encoded as colours is not read. Save one float channel Z.")
    raise names.refuse("none or several of which may be depth. Save one float channel Z.")


def _parts(path: Path, *, header: bool) -> list[Any]:
    try:
        import OpenEXR  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise Refused(f"{path} is an EXR file, which is read by OpenEXR: pip install 'scorereg[formats]'.") from None
    try:
        parts = OpenEXR.File(str(path), separate_channels=True, header_only=header).parts
        if not parts:
            raise ValueError("it has no part")
        return parts
    except Exception as error:  # a binding of C++ raises anything
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> Refused:
    words = (str(error).splitlines() or ["of another kind"])[0].rstrip(".")
    return Refused(
        f"{path} cannot be read as EXR, as it is truncated, corrupt or deep ({words}). Copy it again, or leave it out."
    )


def _names(path: Path) -> _Names:
    parts = _parts(path, header=True)
    try:
        sizes = [_size(part.header["dataWindow"]) for part in parts]
        size = _size(parts[0].header["displayWindow"])
        names = tuple(tuple(channel.name for channel in part.header["channels"]) for part in parts)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise _damaged(path, error) from None
    check_pixels(path, size)
    for (width, height), inside in zip(sizes, names, strict=True):  # all channels are decoded
        check_pixels(path, (width, height * max(len(inside) // 4, 1)))
    return _Names(path, names, size)


def _size(window: Any) -> tuple[int, int]:
    """Width and height of a window, whose corners are both inside."""
    (left, top), (right, bottom) = ((int(v) for v in corner) for corner in window)
    return right - left + 1, bottom - top + 1


def _layers(names: _Names) -> list[tuple[int, str]]:
    """Part and prefix of each layer that has R, G and B."""
    ends = [(part, name[:-1]) for part, name in names.all if name[-1:] in ("R", "r")]
    return [(part, prefix) for part, prefix in ends if all(_cased(names, part, prefix + k) for k in "GB")]


def _cased(names: _Names, part: int, name: str) -> str:
    """A channel's name as the file writes it, `R` or `r`; empty if it has none."""
    return next((own for own in (name, name[:-1] + name[-1:].lower()) if own in names.parts[part]), "")


def _arrays(names: _Names, wanted: list[tuple[int, str]], outside: float) -> list[np.ndarray]:
    """Channels of the display window, float32."""
    parts = _parts(names.path, header=False)
    if len(parts) != len(names.parts):  # OpenEXR leaves out a part that it stumbles over
        raise _damaged(names.path, ValueError("pixels of a part"))
    left, top = (int(v) for v in parts[0].header["displayWindow"][0])
    arrays = []
    for part, name in wanted:
        x, y = (int(v) for v in parts[part].header["dataWindow"][0])
        channel = parts[part].channels[name]
        if (channel.xSampling, channel.ySampling) != (1, 1):
            raise names.refuse(f"of which {name} has fewer pixels than the picture. Save it as RGB.")
        pixels = channel.pixels
        canvas = np.full(names.size[::-1], outside, np.float32)
        rows, columns = (
            np.intersect1d(np.arange(n), start + np.arange(k))
            for n, start, k in zip(canvas.shape, (y - top, x - left), pixels.shape, strict=True)
        )
        if rows.size and columns.size:
            canvas[np.ix_(rows, columns)] = pixels[np.ix_(rows - (y - top), columns - (x - left))]
        arrays.append(canvas)
    return arrays


def _srgb(light: np.ndarray) -> np.ndarray:
    """The curve of IEC 61966-2-1."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)
