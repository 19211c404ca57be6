"""Reader of the files of a COLMAP model, text or binary: cameras, registered photos and points.

The rigs and frames of COLMAP 3.12 and later are not needed, as its `images` file still has the pose of each photo.
"""

import mmap
import posixpath
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

import numpy as np
from jaxtyping import Float

from scorereg._io import check_plain
from scorereg.files.layouts.colmap_models import COUNTS, NAMES, lens_of
from scorereg.files.view import Lens

__all__ = ["Camera", "Picture", "read_cameras", "read_pictures", "read_points"]

_WORDS = 10  # of a photo's line: number, quaternion, translation, camera, name
_WIDEST = 10**9  # pixels of a side
_OBSERVATION = 24  # bytes
_POINT = 51  # bytes of a point before its track
_TRACK = 8  # bytes of each photo that sees it

_T = TypeVar("_T")


@dataclass(frozen=True)
class Camera:
    """A camera: its model's name, the width and height of its photos, its parameters in COLMAP's order."""

    model: str
    size: tuple[int, int]
    parameters: tuple[float, ...]

    def lens(self, path: Path) -> Lens:
        """The lens; see `lens_of`."""
        return lens_of(self.model, self.parameters, self.size, path)


@dataclass(frozen=True)
class Picture:
    """A registered photo: name below the folder of photos, number of its camera, camera-from-world pose.

    Args:
        name: Name, with `/` between folders.
        camera: Number of its camera.
        quaternion: Rotation from world to camera, real part first.
        translation: Translation from world to camera.
    """

    name: str
    camera: int
    quaternion: tuple[float, ...]
    translation: tuple[float, ...]


class _Bytes:
    """A binary file that is read from front to back; no more is taken than it holds."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.at = path, data, 0

    def take(self, layout: str) -> tuple:
        size = struct.calcsize(layout)
        self.skip(size)
        return struct.unpack_from(layout, self.data, self.at - size)

    def skip(self, size: int) -> None:
        if size > len(self.data) - self.at:
            raise ValueError(f"it ends at byte {len(self.data)}, and at least {self.at + size} were expected")
        self.at += size

    def count(self, least: int) -> int:
        """A number of entries of at least `least` bytes each, for which the rest of the file must have room."""
        (count,) = self.take("<Q")
        if count * least > len(self.data) - self.at:
            raise ValueError(
                f"{count} entries are announced at byte {self.at - 8}, more than its {len(self.data)} bytes can hold"
            )
        return count

    def name(self) -> str:
        end = self.data.find(b"\0", self.at)
        if end < 0:
            raise ValueError("it ends inside a name")
        name = self.data[self.at : end].decode("utf-8", "surrogateescape")
        self.at = end + 1
        return name


def read_cameras(path: Path) -> dict[int, Camera]:
    """Return the cameras of `cameras.bin` or `cameras.txt` by their numbers.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is damaged, or a camera is of a model that is not known.
    """
    return _read(path, _cameras_binary, _cameras_text)


def read_pictures(path: Path) -> list[Picture]:
    """Return the photos of `images.bin` or `images.txt`.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is damaged.
    """
    return _read(path, _pictures_binary, _pictures_text)


def read_points(path: Path) -> Float[np.ndarray, "p 3"]:
    """Return the points of `points3D.bin` or `points3D.txt`, in world coordinates, float64.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is damaged.
    """
    return _read(path, _points_binary, _points_text)


def _read(path: Path, binary: Callable[[_Bytes], _T], text: Callable[[list[str]], _T]) -> _T:
    check_plain(path)
    try:
        if path.suffix == ".txt":
            return text(path.read_text(encoding="utf-8-sig").splitlines())
        with path.open("rb") as file:
            if not path.stat().st_size:
                raise ValueError("it is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                source = _Bytes(path, data)
                found = binary(source)
                if source.at != len(data):
                    raise ValueError(f"{len(data) - source.at} bytes follow after its last entry")
                return found
    except (ValueError, IndexError, OverflowError) as error:
        raise ValueError(f"{path} is damaged or no file of COLMAP: {error}. Copy or export the model again.") from None


def _camera(model: str, size: tuple[int, int], parameters: tuple[float, ...]) -> Camera:
    if len(parameters) != COUNTS[model]:
        raise ValueError(f"{model} has {COUNTS[model]} parameters, not {len(parameters)}")
    if not np.isfinite(parameters).all() or min(size) < 1 or max(size) > _WIDEST:
        raise ValueError(f"a camera of {size[0]}x{size[1]} pixels has the parameters {parameters}"[:300])
    return Camera(model, size, parameters)


def _check_new(number: int, cameras: dict[int, Camera]) -> None:
    if number in cameras:
        raise ValueError(f"camera {number} is there twice")


def _unknown(model: object) -> NoReturn:
    raise ValueError(f"the camera model {model} is not known; undistort the photos (colmap image_undistorter)")


def _cameras_binary(source: _Bytes) -> dict[int, Camera]:
    cameras = {}
    for _ in range(source.count(24)):
        number, model, width, height = source.take("<IiQQ")
        _check_new(number, cameras)
        name = NAMES[model] if 0 <= model < len(NAMES) else _unknown(f"number {model}")
        cameras[number] = _camera(name, (width, height), source.take(f"<{COUNTS[name]}d"))
    return cameras


def _cameras_text(lines: list[str]) -> dict[int, Camera]:
    cameras = {}
    for line in lines:
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        number, model, width, height, *numbers = words
        if model not in COUNTS:
            _unknown(model)
        _check_new(int(number), cameras)
        cameras[int(number)] = _camera(model, (int(width), int(height)), tuple(float(word) for word in numbers))
    return cameras


def _picture(name: str, camera: int, numbers: tuple[float, ...]) -> Picture:
    if not np.isfinite(numbers).all() or not 0.9 < float(np.linalg.norm(numbers[:4])) < 1.1:
        raise ValueError(f"the pose of {name!r} is no rotation and translation: {numbers}")
    return Picture(posixpath.normpath(name.replace("\\", "/")), camera, numbers[:4], numbers[4:])


def _pictures_binary(source: _Bytes) -> list[Picture]:
    pictures = []
    for _ in range(source.count(73)):
        _, *numbers, camera = source.take("<I7dI")
        pictures.append(_picture(source.name(), camera, tuple(numbers)))
        source.skip(_OBSERVATION * source.count(_OBSERVATION))
    return pictures


def _pictures_text(lines: list[str]) -> list[Picture]:
    """Every photo has two lines; that of its observations may be empty, and is passed over if it is there."""
    pictures, after = [], False
    for line in lines:
        if line.startswith("#"):
            continue
        words = line.split(maxsplit=_WORDS - 1)
        if not words or (after and _are_observations(line)):
            after = False
            continue
        if len(words) < _WORDS:
            raise ValueError(f"a photo's line has {_WORDS} words, but one is {line[:80]!r}")
        numbers = tuple(float(word) for word in words[1:8])
        pictures.append(_picture(words[9].strip(), int(words[8]), numbers))
        after = True
    return pictures


def _are_observations(line: str) -> bool:
    """Whether a line consists of x, y and a whole number, over and over; that of a photo ends with a name."""
    words = line.split()
    return len(words) % 3 == 0 and words[-1].removeprefix("-").isdigit()


def _points_binary(source: _Bytes) -> Float[np.ndarray, "p 3"]:
    points = np.empty((source.count(_POINT), 3))
    for row in points:
        row[:] = source.take("<Q3d3Bd")[1:4]
        source.skip(_TRACK * source.count(_TRACK))
    return points


def _points_text(lines: list[str]) -> Float[np.ndarray, "p 3"]:
    rows = [line.split(maxsplit=4)[1:4] for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return np.array([[float(word) for word in row] for row in rows], np.float64).reshape(len(rows), 3)
