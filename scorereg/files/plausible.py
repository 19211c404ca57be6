"""Numbers that are well formed and can hardly be right: of lenses, of cameras' places, and of ranges of depth."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from scorereg.files.lens import folding_share
from scorereg.files.said import FileWarning
from scorereg.files.view import Lens

__all__ = ["odd_bounds", "odd_lens", "odd_lenses", "odd_places"]

_WIDEST, _NARROWEST = 150.0, 1.0  # degrees that a pinhole's photo covers
_UNEVEN = 2.0  # between fx and fy
_OTHER = 3.0  # between one photo's focal length, in widths, and the median
_FAR = 20.0  # between one camera's distance from the middle of all and the median
_DIGITS = 1e-13  # share of a coordinate that float64 still keeps
_RANGE = 100.0  # between near and the spread of the cameras, or that and far
_ROUNDING = 1e-6  # of near: cameras that are nearer to each other stand at one place
_FOLDS = 0.9  # of the way to the corners: a lens that was measured may fold beyond what it was measured on
_FEW = 3  # photos, from which on one can be told from the others


def odd_lens(
    file: Path, focal: tuple[float, float], size: tuple[float, float], *, fisheye: bool = False
) -> FileWarning | None:
    """Return what is odd of a lens: fx and fy more than 2 times apart, a photo of more than 150 or less than 1 degree.

    Args:
        file: The photo.
        focal: fx, fy in pixels.
        size: Width and height in pixels.
        fisheye: Whether it is a fisheye, which may cover any angle.
    """
    angles = [math.degrees(2 * math.atan(side / (2 * f))) for side, f in zip(size, focal, strict=True)]
    shown = f"has focal lengths of {focal[0]:.6g} and {focal[1]:.6g} pixels for {size[0]:g}x{size[1]:g}"
    if max(focal) > _UNEVEN * min(focal):
        return FileWarning(
            file, f"{shown}, which are nearly equal for square pixels. Correct `fl_x` or `fl_y`.", "fx fy"
        )
    if min(angles) >= _NARROWEST and (fisheye or max(angles) <= _WIDEST):
        return None
    words = (
        f"{shown}: it covers {angles[0]:.3g}x{angles[1]:.3g} degrees, which no usual lens does. Write `fl_x` and "
        "`fl_y` in pixels of `w` x `h`."
    )
    return FileWarning(file, words, "odd lens")


def odd_lenses(lenses: Sequence[tuple[Path, Lens]]) -> list[FileWarning]:
    """Return what is odd of the lenses of some photos, each with its size: by itself, or next to the others."""
    known = [(file, lens.focal, lens.size, lens.model == "fisheye") for file, lens in lenses if lens.size]
    each = [odd_lens(file, focal, size, fisheye=fisheye) for file, focal, size, fisheye in known]
    each += [_folding(file, lens) for file, lens in lenses if lens.size and lens.model == "brown"]
    found = [warning for warning in each if warning]
    shares = np.array([focal[0] / max(size) for _, focal, size, _ in known])
    middle = float(np.median(shares)) if len(shares) >= _FEW else 0.0
    for (file, focal, _, _), share in zip(known, shares if middle else (), strict=False):
        if not 1 / _OTHER <= share / middle <= _OTHER:
            words = (
                f"has a focal length of {focal[0]:.6g} pixels, {share / middle:.3g} times that of most others. Correct "
                "it, if no other lens was on."
            )
            found.append(FileWarning(file, words, "other focal"))
    return found


def _folding(file: Path, lens: Lens) -> FileWarning | None:
    """A lens whose distortion shows a part of the photo twice: straightened, it covers less."""
    assert lens.size is not None
    share = folding_share(lens, *lens.size)
    if share >= _FOLDS:
        return None
    words = (
        f"has a distortion (k1 = {lens.distortion[0]:.4g}) that folds the image back from {100 * share:.0f} % of the "
        "way to its corners: what lies beyond is left out. Correct it, or take it out."
    )
    return FileWarning(file, words, "folding lens")


def odd_places(source: Path, names: Sequence[str], centers: Float[np.ndarray, "n 3"]) -> list[str]:
    """Return what is odd of the cameras' places: one far off, or digits that float64 does not have.

    Args:
        source: The file that has them.
        names: Names of the photos.
        centers: Centers in the file's unit, finite.
    """
    if len(centers) < 2:
        return []
    away = np.linalg.norm(centers - np.median(centers, 0), axis=1)
    if not away.any():
        return []  # told where near and far are given, or are looked for
    if np.abs(centers).max() * _DIGITS > away.max():
        return [
            f"{source}: coordinates of {np.abs(centers).max():.3g} have no digits left for cameras that are "
            f"{away.max():.3g} apart. Subtract a common point in the program that wrote them."
        ]
    usual = float(np.median(away))
    far = [i for i in np.argsort(-away) if usual and away[i] > _FAR * usual]
    if len(centers) <= _FEW or not far or len(far) > len(centers) / 4:
        return []
    more = f" ({len(far)} such)" if len(far) > 1 else ""
    return [
        f"{source}: {names[far[0]]} is {away[far[0]] / usual:.3g} times as far from the middle of the cameras as most"
        f"{more}. Remove it, if its pose is wrong."
    ]


def odd_bounds(source: Path, bounds: tuple[float, float], centers: Float[np.ndarray, "n 3"]) -> list[str]:
    """Return what is odd of near and far next to the cameras' places.

    Both may be far beyond the cameras' distances from their middle, or far within; or all cameras stand at one place.

    Args:
        source: The file that has them.
        bounds: Near and far.
        centers: Centers of all cameras, in the same unit.
    """
    if len(centers) < 2:
        return []
    near, far = bounds
    spread = float(np.linalg.norm(centers - centers.mean(0), axis=1).max())
    if spread < _ROUNDING * near:
        return [f"{source}: all {len(centers)} cameras stand at one place, which does not tell depth. Is that so?"]
    if near < _RANGE * spread and far > spread / _RANGE:
        return []
    return [
        f"{source}: near {near:.3g} and far {far:.3g} do not go with cameras that are {spread:.3g} from their middle. "
        "Write them in the unit of the poses."
    ]
