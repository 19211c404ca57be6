"""COLMAP's camera models as lenses: those that are pinholes, Brown's or OpenCV's fisheye; the others are refused."""

from pathlib import Path
from typing import Literal

from scorereg.files.view import Lens

__all__ = ["COUNTS", "NAMES", "lens_of"]

NAMES = (
    "SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "OPENCV_FISHEYE", "FULL_OPENCV", "FOV",
    "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE", "THIN_PRISM_FISHEYE", "RAD_TAN_THIN_PRISM_FISHEYE", "SIMPLE_DIVISION",
    "DIVISION", "SIMPLE_FISHEYE", "FISHEYE", "EUCM", "EQUIRECTANGULAR",
)  # fmt: skip
"""The models in the order of their numbers in `cameras.bin`."""

COUNTS: dict[str, int] = dict(zip(NAMES, (3, 4, 4, 5, 8, 8, 12, 5, 4, 5, 12, 16, 4, 5, 3, 4, 6, 2), strict=True))
"""Number of parameters of each model."""

_ONE_FOCAL = {"SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE", "SIMPLE_DIVISION",
              "SIMPLE_FISHEYE"}  # fmt: skip
_PINHOLE = {"SIMPLE_PINHOLE", "PINHOLE"}
_FISHEYE = {"SIMPLE_FISHEYE", "FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE", "OPENCV_FISHEYE"}
_THIN_PRISM = {"THIN_PRISM_FISHEYE": (0, 1, 4, 5), "RAD_TAN_THIN_PRISM_FISHEYE": (0, 1, 2, 3)}
"""Where the four radial terms of OpenCV's fisheye are among those after the center; the others are not in it."""


def lens_of(model: str, parameters: tuple[float, ...], size: tuple[int, int], path: Path) -> Lens:
    """Return the lens of a camera: pixels are counted from the first pixel's corner, as COLMAP does.

    Brown's terms are k1 of SIMPLE_RADIAL, k1, k2 of RADIAL, k1, k2, p1, p2 of OPENCV, and k3 to k6 of FULL_OPENCV;
    those of OpenCV's fisheye are none to k1, k2, k3, k4 of the FISHEYE models and of thin prisms whose others are 0.

    Args:
        model: Name of the model.
        parameters: Its parameters, in COLMAP's order.
        size: Width and height of the photos that the camera was found for.
        path: File that errors name.

    Raises:
        ValueError: If the lens is of another kind, or a focal length is not above 0.
    """
    focal = parameters[:1] * 2 if model in _ONE_FOCAL else parameters[:2]
    start = 1 if model in _ONE_FOCAL else 2
    center, terms = parameters[start : start + 2], parameters[start + 2 :]
    if model == "EQUIRECTANGULAR":
        raise _refused(model, "it is a panorama, not a lens", path)
    if min(focal) <= 0:
        raise ValueError(f"{path}: a {model} camera has the focal length {min(focal):g}; it must be above 0.")
    kind, distortion = _distortion(model, terms, path)
    return Lens((focal[0], focal[1]), (center[0], center[1]), distortion, kind, (float(size[0]), float(size[1])))


def _distortion(
    model: str, terms: tuple[float, ...], path: Path
) -> tuple[Literal["pinhole", "brown", "fisheye"], tuple[float, ...]]:
    if model in _PINHOLE:
        return "pinhole", ()
    if model in _FISHEYE:
        return "fisheye", (*terms, 0.0, 0.0, 0.0, 0.0)[:4]
    if model in _THIN_PRISM:
        radial = _THIN_PRISM[model]
        if any(term for place, term in enumerate(terms) if place not in radial):
            raise _refused(model, "its tangential and thin prism terms are not supported", path)
        return "fisheye", tuple(terms[place] for place in radial)
    if model in ("SIMPLE_RADIAL", "RADIAL"):
        k1, k2 = (*terms, 0.0)[:2]
        return ("brown", (k1, k2, 0.0, 0.0, 0.0)) if any(terms) else ("pinhole", ())
    if model in ("OPENCV", "FULL_OPENCV"):
        k1, k2, p1, p2, *others = terms
        return ("brown", (k1, k2, p1, p2, *(others or (0.0,)))) if any(terms) else ("pinhole", ())
    raise _refused(model, "that lens is not supported", path)


def _refused(model: str, why: str, path: Path) -> ValueError:
    return ValueError(
        f"{path}: the camera model {model} cannot be used: {why}. Undistort the photos (colmap image_undistorter), "
        "which writes PINHOLE cameras."
    )
