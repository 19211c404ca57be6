"""TUM RGB-D (Sturm et al. 2012): photos and depth maps named by time stamps, paired by the nearest in time."""

import re
from pathlib import Path

from scorereg.data.bad_frames import BadFrames
from scorereg.data.frames.frame import Frame
from scorereg.files.layouts.parsing import load_json, number, scene_name

__all__ = ["ASSOCIATIONS", "find_tum"]

ASSOCIATIONS = ("associations.txt", "associate.txt", "association.txt")
_UNIT = 1 / 5000  # depth of 5000 is one metre
_APART = 0.02  # seconds between a photo and its depth map, at most
_FOCAL = {"1": (517.3, 516.5), "2": (520.9, 521.0), "3": (535.4, 539.2)}  # its page, by camera


def find_tum(folder: Path, bad: BadFrames) -> list[Frame]:
    """Find frames of `associations.txt`, or `rgb.txt` and `depth.txt`; camera by folder name or `intrinsics.json`."""
    listed = next((folder / name for name in ASSOCIATIONS if (folder / name).is_file()), None)
    pairs = _associated(listed) if listed else _matched(folder)
    focal = _focal(folder)
    return [Frame(scene_name(folder), folder / c, folder / d, focal, _UNIT, shared=True) for c, d in pairs]


def _focal(folder: Path) -> tuple[float, float]:
    path = folder / "intrinsics.json"
    if path.is_file():
        meta = load_json(path)
        focal_x = number(meta.get("fl_x"), "fl_x", path)
        return focal_x, number(meta.get("fl_y", focal_x), "fl_y", path)
    camera = re.search(r"freiburg([123])", folder.resolve().name)
    if camera is None:
        raise FileNotFoundError(
            f"{path} is missing, and the folder's name does not say which of the cameras it is (freiburg1, 2 or 3). "
            "Write it: fl_x and fl_y in pixels."
        )
    return _FOCAL[camera[1]]


def _associated(path: Path) -> list[tuple[str, str]]:
    """Read pairs, one per line: `time file time file`; the depth map is the one in a folder `depth`."""
    pairs = []
    for words in _lines(path, 4):
        first, second = words[1], words[3]
        pairs.append((second, first) if first.startswith("depth") else (first, second))
    return pairs


def _matched(folder: Path) -> list[tuple[str, str]]:
    """Pair files nearest in time, the closest pair first, each file once, as the data set's own tool does."""
    lists = []
    for name in ("rgb.txt", "depth.txt"):
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: without it, or associations.txt, nothing says what belongs "
                                    "together.")  # fmt: skip
        lists.append([(_time(words[0], path), words[1]) for words in _lines(path, 2)])
    colors, depths = (sorted(part) for part in lists)
    near, start = [], 0
    for index, (time, _) in enumerate(colors):
        while start < len(depths) and depths[start][0] < time - _APART:
            start += 1
        other = start
        while other < len(depths) and depths[other][0] <= time + _APART:
            near.append((abs(depths[other][0] - time), index, other))
            other += 1
    taken: dict[int, int] = {}
    for _, color, depth in sorted(near):
        if color not in taken and depth not in taken.values():
            taken[color] = depth
    return [(colors[color][1], depths[taken[color]][1]) for color in sorted(taken)]


def _lines(path: Path, least: int) -> list[list[str]]:
    """Return the words of each line that is no comment."""
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    lines = [words for words in lines if words and not words[0].startswith("#")]
    for words in lines:
        if len(words) < least:
            raise ValueError(f"{path}: `{' '.join(words)}` should have {least} words, time stamp and file. Correct it.")
    return lines


def _time(word: str, path: Path) -> float:
    try:
        return float(word)
    except ValueError:
        raise ValueError(f"{path}: {word!r} is no time stamp. Correct the file.") from None
