"""TUM RGB-D (Sturm et al. 2012): photos and depth maps named by time stamps, paired by the nearest in time.

    rgb.txt, depth.txt        a line `time file` each; or associations.txt, `time file time file`, in either order
    groundtruth.txt           `time tx ty tz qx qy qz qw`: world from camera, in metres
    intrinsics.json           or calibration.txt (`fx fy cx cy`, of ETH3D); the cameras of TUM and ICL-NUIM are known

ICL-NUIM (Handa et al. 2014) has the camera's y axis upwards, in `*.gt.freiburg` and in the sign of its fy: poses are
mirrored, y to -y of the camera and of the world, which makes them those of a camera with y down.
"""

import re
from pathlib import Path

import numpy as np

from scorereg.files.depth import DEPTH_SUFFIXES
from scorereg.files.images import IMAGE_SUFFIXES, read_head
from scorereg.files.layouts.folders import by_stem, size_of_first
from scorereg.files.layouts.intrinsics import INTRINSICS, read_intrinsics
from scorereg.files.layouts.lenses import NoCamera, lens_of_matrix, shifted, sized_for
from scorereg.files.layouts.parsing import Bad, raise_it, read_table
from scorereg.files.layouts.poses import lost_words
from scorereg.files.layouts.trajectory import mirrored, read_track
from scorereg.files.names import Names
from scorereg.files.text import read_lines
from scorereg.files.view import Lens, Listing, View

__all__ = ["ASSOCIATIONS", "is_tum", "read_tum"]

ASSOCIATIONS = ("associations.txt", "associate.txt", "association.txt", "associated.txt")
CALIBRATION = "calibration.txt"
_UNIT = 1 / 5000  # depth of 5000 is one metre
_APART = 0.02  # seconds between a photo and its depth map, at most
_CAMERAS = {  # its page, by camera: fx, fy, cx, cy and k1, k2, p1, p2, k3
    "1": (517.3, 516.5, 318.6, 255.3, (0.2624, -0.9531, -0.0054, 0.0026, 1.1633)),
    "2": (520.9, 521.0, 325.1, 249.7, (0.2312, -0.7849, -0.0033, -0.0001, 0.9172)),
    "3": (535.4, 539.2, 320.1, 247.6, ()),
}
_ICL = np.array([[481.2, 0, 319.5], [0, 480, 239.5], [0, 0, 1]])
_SIZE = (640.0, 480.0)
_Pair = tuple[str, str, float]  # photo, depth map, time of the photo


def is_tum(files: set[str], folders: set[str]) -> bool:
    """Whether a folder with these files and folders has this layout."""
    listed = "rgb.txt" in files and bool(files & {"depth.txt", "groundtruth.txt"})
    return listed or bool(files & set(ASSOCIATIONS)) or ("groundtruth.txt" in files and "rgb" in folders)


def read_tum(folder: Path, bad: Bad = raise_it) -> Listing:
    """Read a folder of TUM RGB-D; its views have poses where the trajectory has one within 20 ms.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a file does not hold what it should.
    """
    listed = next((folder / name for name in ASSOCIATIONS if (folder / name).is_file()), None)
    names = Names(folder, listed or folder / "rgb.txt")
    pairs = _associated(listed, names) if listed else _matched(folder)
    lens, unit, upwards = _camera(folder, size_of_first(names.find(color)[0] for color, *_ in pairs))
    track = _track(folder)
    upwards = upwards or (track is not None and track.suffix == ".freiburg")
    times = [time for *_, time in pairs]
    poses = read_track(track, times) if track else [None] * len(pairs)
    poses = [mirrored(pose) if pose and upwards else pose for pose in poses]
    views = tuple(
        _view(names, color, depth, lens, pose, unit) for (color, depth, _), pose in zip(pairs, poses, strict=True)
    )
    lost = [view.file.name for view in views if view.pose is None]
    said = *names.said, *lost_words(folder, lost, len(views))
    return Listing(folder, views, metric=True, said=said, axes="opencv")


def _view(names: Names, color: str, depth: str, lens: Lens, pose: tuple[float, ...] | None, unit: float) -> View:
    photo = names.find(color)[0]
    return View(
        photo, names.find(depth, unlike=photo)[0] if depth else None, lens=lens, pose=pose, unit=unit, shared=True
    )


def _camera(folder: Path, photo: tuple[float, float] | None) -> tuple[Lens, float, bool]:
    """The lens, metres per unit of depth, and whether the camera's y axis points upwards."""
    path, plain = folder / INTRINSICS, folder / CALIBRATION
    if path.is_file():
        return read_intrinsics(path, photo, unit=_UNIT)
    if plain.is_file():
        numbers = read_table(plain, "fx fy cx cy in one line").reshape(-1)
        if numbers.size < 4:
            raise ValueError(f"{plain} must hold fx fy cx cy in one line. Correct the file.")
        fx, fy, cx, cy = numbers[:4].tolist()
        size = sized_for((cx, cy), photo, (), plain) if photo is not None else None
        lens = lens_of_matrix(np.array([[fx, 0, cx], [0, abs(fy), cy], [0, 0, 1]]), plain, size)
        return lens, _UNIT, fy < 0
    name = folder.resolve().name
    if camera := re.search(r"freiburg([123])", name):
        fx, fy, cx, cy, terms = _CAMERAS[camera[1]]
        return Lens((fx, fy), shifted((cx, cy), _SIZE), terms, "brown" if terms else "pinhole", _SIZE), _UNIT, False
    if list(folder.glob("*.gt.freiburg")) or re.search(r"(living|office)_?room.*traj|_frei_png", name, re.IGNORECASE):
        return lens_of_matrix(_ICL, folder, _SIZE), _UNIT, True
    raise NoCamera(
        f"{path} is missing, and the folder's name does not say which of the cameras it is (freiburg1, 2 or 3). "
        "Write it: fl_x and fl_y in pixels."
    )


def _track(folder: Path) -> Path | None:
    """The file of poses, if there is one."""
    plain = folder / "groundtruth.txt"
    return plain if plain.is_file() else next(iter(sorted(folder.glob("*.gt.freiburg"))), None)


def _associated(path: Path, names: Names) -> list[_Pair]:
    """Read pairs, one per line: `time file time file`; which of the two is the photo is seen from the files."""
    lines = _lines(path, 4)
    if _depth_first(lines, names):
        lines = [[*words[2:4], *words[:2]] for words in lines]
    return [(words[1], words[3], _time(words[0], path)) for words in lines]


def _depth_first(lines: list[list[str]], names: Names) -> bool:
    """Whether the first file of a pair is the depth map: it has one channel of 16 bits, or its name says so."""
    for words in lines:
        try:
            heads = [read_head(names.find(word)[0]) for word in (words[1], words[3])]
        except (OSError, ValueError):
            continue  # reported when the frame is read
        maps = [head.grey and head.bits > 8 for head in heads]
        if maps[0] != maps[1]:
            return maps[0]
        break
    first, second = lines[0][1].lower().replace("\\", "/"), lines[0][3].lower().replace("\\", "/")
    return "depth" in first and "depth" not in second


def _matched(folder: Path) -> list[_Pair]:
    """Pair files nearest in time, the closest pair first, each file once, as the data set's own tool does."""
    colors, depths = (sorted(_timed(folder, kind)) for kind in ("rgb", "depth"))
    if not depths:
        return [(file, "", time) for time, file in colors]
    near, start = [], 0
    for index, (time, _) in enumerate(colors):
        while start < len(depths) and depths[start][0] < time - _APART:
            start += 1
        other = start
        while other < len(depths) and depths[other][0] <= time + _APART:
            near.append((abs(depths[other][0] - time), index, other))
            other += 1
    taken: dict[int, int] = {}
    used: set[int] = set()
    for _, color, depth in sorted(near):
        if color not in taken and depth not in used:
            taken[color] = depth
            used.add(depth)
    if not taken:
        nearest = min(abs(color - depth) for color, _ in colors for depth, _ in depths)
        raise ValueError(
            f"{folder}: no photo has a depth map within {_APART:g} s of its time stamp; the nearest is {nearest:.3g} s "
            "off. Correct the time stamps, or list the pairs in associations.txt."
        )
    return [(colors[color][1], depths[taken[color]][1], colors[color][0]) for color in sorted(taken)]


def _timed(folder: Path, kind: str) -> list[tuple[float, str]]:
    """Times and files of photos or depth maps: of the list, or else of the files' own names."""
    path, place = folder / f"{kind}.txt", folder / kind
    if path.is_file():
        return [(_time(words[0], path), words[1]) for words in _lines(path, 2)]
    files = by_stem(place, IMAGE_SUFFIXES if kind == "rgb" else DEPTH_SUFFIXES) if place.is_dir() else {}
    if any(not re.fullmatch(r"\d+(\.\d+)?", stem) for stem in files) or (kind == "rgb" and not files):
        raise FileNotFoundError(
            f"{path} is missing: without it, or associations.txt, nothing says what belongs together."
        )
    return [(float(stem), f"{kind}/{file.name}") for stem, file in files.items()]


def _lines(path: Path, least: int) -> list[list[str]]:
    """Return the words of each line that is no comment."""
    lines = [line.replace(",", " ").split() for line in read_lines(path)]
    for words in lines:
        if len(words) < least:
            raise ValueError(f"{path}: `{' '.join(words)}` should have {least} words, time stamp and file. Correct it.")
    if not lines:
        raise ValueError(f"{path} lists no files. Restore it.")
    return lines


def _time(word: str, path: Path) -> float:
    try:
        if np.isfinite(time := float(word)):
            return time
    except ValueError:
        pass
    raise ValueError(f"{path}: {word!r} is no time stamp. Correct the file.")
