"""The lens among the keys of `transforms.json`: `fl_x`, `camera_angle_x`, `cx`, `k1`, `camera_model`, `is_fisheye`."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from scorereg.files.text import number_in
from scorereg.files.view import Lens

__all__ = ["FOCAL", "LENS", "lens_among"]

FOCAL = ("fl_x", "fl_y", "camera_angle_x", "camera_angle_y", "x_fov", "y_fov")
LENS = {
    *FOCAL, "cx", "cy", "w", "h", "camera_model", "is_fisheye", "distortion_params", "p1", "p2",
    *(f"k{i}" for i in range(1, 7)),
}  # fmt: skip
"""Keys that are read here."""

_BROWN = {"OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE", "FULL_OPENCV", "BROWN"}
_FISHEYE = {
    "OPENCV_FISHEYE", "FISHEYE", "SIMPLE_FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE", "EQUIDISTANT",
    "FISHEYE_EQUIDISTANT",
}  # fmt: skip
_Entry = Mapping[str, Any]


def lens_among(levels: Sequence[_Entry], size: Callable[[], tuple[int, int]], times: int, name: str) -> Lens | None:
    """Return the lens that a frame has, by its own keys or those of the whole file.

    Focal lengths are `fl_x`, `fl_y` in pixels, else half of `w`, `h` over the tangent of half of `camera_angle_x`,
    `camera_angle_y` (radians), `x_fov`, `y_fov` (degrees); one that lacks is the other's. `cx`, `cy` lack for the
    middle. Terms of distortion are those of OpenCV's model or fisheye (`camera_model` in any case, `is_fisheye`); k4 of
    `OPENCV` is nerfstudio's factor of r^8, and k4 to k6 of `FULL_OPENCV` are OpenCV's denominator. `distortion_params`
    is nerfstudio's list k1, k2, k3, k4, p1, p2.

    Args:
        levels: The entry of the frame, then that of the file: the first that has a key decides.
        size: Returns the width and height of the photo, or raises; asked where `w` and `h` lack and are needed.
        times: How many times smaller the photo is than the one that is named.
        name: The file and the frame, for errors.

    Returns:
        The lens; None if there is no focal length.

    Raises:
        ValueError: If a number cannot be, or the lens is of another kind.
    """
    model = _model(levels, name)
    if not any(entry.get(key) is not None for entry in levels for key in FOCAL):
        return None
    wide, high = _sides(levels, size, times, name)
    focal_x, focal_y = (_focal(levels, axis, side, size, name) for axis, side in (("x", wide), ("y", high)))
    given = [value for value in (focal_x, focal_y) if value is not None]
    sides = [value for value in (wide, high) if value is not None]
    if not given or min(*given, *sides, 1.0) <= 0:
        shown = ", ".join(f"{value:g}" for value in (*given, *sides))
        raise ValueError(f"{name}: focal lengths (`fl_x`, `fl_y`), w and h must be above 0, but are {shown}.")
    focal = given[0], given[-1]
    middle = _middle(levels, wide, high, size, name)
    terms = _terms(levels, model, name)
    kind = model if model == "fisheye" or any(terms) else "pinhole"
    return Lens(focal, middle, terms if kind != "pinhole" else (), kind, (wide, high) if wide and high else None)


def _value(levels: Sequence[_Entry], key: str) -> Any:
    return next((entry[key] for entry in levels if entry.get(key) is not None), None)


def _number(levels: Sequence[_Entry], key: str, name: str) -> float | None:
    return number_in({key: _value(levels, key)}, key, name)


def _model(levels: Sequence[_Entry], name: str) -> Literal["brown", "fisheye"]:
    word, fisheye = _value(levels, "camera_model"), _value(levels, "is_fisheye")
    plain = str(word).upper().replace("-", "_").replace(" ", "_") if word is not None else ""
    if plain and plain not in _BROWN | _FISHEYE:
        raise ValueError(
            f"{name}: camera_model {word!r} is neither a pinhole nor OpenCV's fisheye; undistort the images and write "
            "OPENCV."
        )
    if fisheye is not None and not isinstance(fisheye, bool) and fisheye not in (0, 1):
        raise ValueError(f"{name}: `is_fisheye` must be true or false, but is {fisheye!r:.40}.")
    if plain in _FISHEYE and fisheye is not None and not fisheye:
        raise ValueError(f"{name}: camera_model is {word!r}, but is_fisheye is false; correct the one that is wrong.")
    return "fisheye" if fisheye or plain in _FISHEYE else "brown"


def _sides(
    levels: Sequence[_Entry], size: Callable[[], tuple[int, int]], times: int, name: str
) -> tuple[float | None, float | None]:
    """Width and height that the numbers are for; none where they are those of the photo."""
    wide, high = _number(levels, "w", name), _number(levels, "h", name)
    if wide is None and high is None:
        return (None, None) if times == 1 else tuple(float(times * side) for side in size())  # pyright: ignore
    if (wide is None) != (high is None):  # the other follows from the photo's proportions
        width, height = size()
        wide, high = (high or 0) * width / height if wide is None else wide, wide * height / width if wide else high
    return wide, high


def _focal(
    levels: Sequence[_Entry], axis: str, side: float | None, size: Callable[[], tuple[int, int]], name: str
) -> float | None:
    """Focal length along an axis, of the first level that tells it."""
    for entry in levels:
        if entry.get(f"fl_{axis}") is not None:
            return number_in(entry, f"fl_{axis}", name)
        for key, radians in ((f"camera_angle_{axis}", 1.0), (f"{axis}_fov", math.pi / 180)):
            if (angle := number_in(entry, key, name)) is None:
                continue
            if not 0 < angle * radians < math.pi:
                unit = "radians" if radians == 1 else "degrees"
                raise ValueError(f"{name}: `{key}` is an angle in {unit} above 0 and below half a turn, not {angle:g}.")
            side = size()["xy".index(axis)] if side is None else side
            return side / (2 * math.tan(angle * radians / 2))
    return None


def _middle(
    levels: Sequence[_Entry], wide: float | None, high: float | None, size: Callable[[], tuple[int, int]], name: str
) -> tuple[float, float] | None:
    x, y = _number(levels, "cx", name), _number(levels, "cy", name)
    if x is None and y is None:
        return None
    if x is not None and y is not None and 0 < x <= 1 and 0 < y <= 1:
        raise ValueError(f"{name}: `cx` {x:g} and `cy` {y:g} are shares of the size, it seems; write them in pixels.")
    if x is None or y is None:
        width, height = (wide, high) if wide and high else size()
        return width / 2 if x is None else x, height / 2 if y is None else y
    return x, y


def _terms(levels: Sequence[_Entry], model: str, name: str) -> tuple[float, ...]:
    listed = _value(levels, "distortion_params")
    if listed is not None:
        if not isinstance(listed, list) or len(listed) != 6:
            raise ValueError(f"{name}: `distortion_params` must be the six numbers k1, k2, k3, k4, p1, p2.")
        levels = [dict(zip(("k1", "k2", "k3", "k4", "p1", "p2"), listed, strict=True))]
    term = {key: _number(levels, key, name) or 0.0 for key in ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")}
    if model == "fisheye":
        _refuse(term, ("p1", "p2", "k5", "k6"), "OpenCV's fisheye has k1 to k4 alone", name)
        return term["k1"], term["k2"], term["k3"], term["k4"]
    first = term["k1"], term["k2"], term["p1"], term["p2"], term["k3"]
    if str(_value(levels, "camera_model")).upper() == "FULL_OPENCV":
        return (*first, term["k4"], term["k5"], term["k6"])
    _refuse(term, ("k5", "k6"), "lens terms beyond k4 are those of camera_model FULL_OPENCV", name)
    return (*first, 0.0, 0.0, 0.0, term["k4"]) if term["k4"] else first


def _refuse(term: Mapping[str, float], keys: Sequence[str], why: str, name: str) -> None:
    for key in keys:
        if term[key]:
            raise ValueError(f"{name}: `{key}` is {term[key]:g}, but {why}; undistort the images first.")
