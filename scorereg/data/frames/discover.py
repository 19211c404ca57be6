"""Find frames on disk: which photo belongs to which depth map, with what focal length and depth unit.

A folder's layout is recognised by its content; a root that holds many such folders is searched:

    transforms.json                     nerfstudio: frames with `file_path`, `depth_file_path`, `fl_x`
    frames.json                         rendered rooms: frames with `image`, `depth`, `fx`
    rgb.txt and depth.txt               TUM RGB-D, or associations.txt
    color/ and depth/                   ScanNet, with intrinsic/intrinsic_depth.txt
    rgb/ and depth/                     `rgb/NAME.jpg` and `depth/NAME.png`, one camera in intrinsics.json; or one alone
    NAME.color.jpg and NAME.depth.png   7-Scenes, one camera in camera-intrinsics.txt
    scene_cam_XX_final_hdf5/            Hypersim
    images                              of any name, for colour alone, where nothing above is found

Depth is planar z in integer units of `unit` metres; 0 and 65535 mean no measurement.
"""

import dataclasses
import os
from collections import Counter
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

from scorereg.data.bad_frames import BadFrames
from scorereg.data.channels import COLOR, DEPTH, RGBD, maps_of
from scorereg.data.frames.formats.hypersim import find_hypersim
from scorereg.data.frames.formats.listed import find_rooms, find_transforms
from scorereg.data.frames.formats.pairs import find_kinect, find_pairs, find_photos, find_scannet
from scorereg.data.frames.formats.tum import ASSOCIATIONS, find_tum
from scorereg.data.frames.frame import Frame

__all__ = ["find_frames", "rgbd_folders"]


def find_frames(
    paths: list[Path], *, channels: tuple[str, ...] = RGBD, depth_factor: float = 1.0, bad: BadFrames | None = None
) -> list[Frame]:
    """Return the frames of all folders with a known layout at or below `paths`, in order of their names.

    Args:
        paths: Folders with frames, or folders of such folders.
        channels: Channels that patches will have; frames that lack one are bad.
        depth_factor: Multiplies the depth unit.
        bad: Collects frames that lack a file, and says which folders to leave out; without it all are read, and a bad
            frame is an error.

    Raises:
        FileNotFoundError: If a path, or a file of a frame, is missing.
        ValueError: If a folder holds no frames, or its description is broken.
    """
    bad = bad or BadFrames()
    frames: list[Frame] = []
    for path in paths:
        if not path.is_dir():
            raise FileNotFoundError(
                f"{path} is no folder. Name folders with RGB-D frames, or a folder of such folders."
            )
        folders = [folder for folder in rgbd_folders(path) if not _matches(folder, bad.options.exclude)]
        left_out = len(bad.left_out)
        found = [frame for folder in folders for frame in _read_folder(folder, channels, bad)]
        if not folders and maps_of(channels) == (COLOR,):
            found = [frame for frame in find_photos(path) if not _matches(frame.file.parent, bad.options.exclude)]
        if not found:
            raise _nothing(path, bad.left_out[left_out:])
        frames += found
    _check_sizes(frames, bad)
    return [dataclasses.replace(frame, unit=frame.unit * depth_factor) for frame in frames]


def rgbd_folders(root: Path) -> list[Path]:
    """Return the folders with a known layout at or below `root`; the inside of such a folder is not searched."""
    found = []
    for here, folders, files in os.walk(root):
        folders.sort()
        if _reader(set(files), set(folders)):
            found.append(Path(here))
            folders.clear()
    return found


def _nothing(path: Path, left_out: list[str]) -> ValueError:
    why = f" ({'; '.join(left_out[:3])})" if left_out else ""
    return ValueError(
        f"{path} holds no RGB-D frames{why}. Expected below it: transforms.json with depth_file_path, frames.json, "
        "rgb/ and depth/ with intrinsics.json, *.color.jpg and *.depth.png with camera-intrinsics.txt, the layouts of "
        "TUM RGB-D, ScanNet or Hypersim, or, for --channels rgb, images of any name."
    )


def _reader(files: set[str], folders: set[str]) -> Callable[[Path, BadFrames], list[Frame]] | None:
    if "transforms.json" in files:
        return find_transforms
    if "frames.json" in files:
        return find_rooms
    if {"rgb.txt", "depth.txt"} <= files or files & set(ASSOCIATIONS):
        return find_tum
    if {"color", "depth"} <= folders:
        return find_scannet
    if {"rgb", "depth"} <= folders or ({"rgb", "depth"} & folders and "intrinsics.json" in files):
        return find_pairs
    if "camera-intrinsics.txt" in files or any(name.endswith((".color.jpg", ".color.png")) for name in files):
        return find_kinect
    if any(name.startswith("scene_cam_") and name.endswith("_final_hdf5") for name in folders):
        return find_hypersim
    return None


def _matches(folder: Path, patterns: tuple[str, ...]) -> bool:
    names = [folder.name, folder.parent.name if folder.name == "images" else folder.name]
    return any(fnmatch(name, pattern) for name in names for pattern in patterns)


def _read_folder(folder: Path, channels: tuple[str, ...], bad: BadFrames) -> list[Frame]:
    entries = list(os.scandir(folder))
    reader = _reader({e.name for e in entries if e.is_file()}, {e.name for e in entries if e.is_dir()})
    frames = reader(folder, bad) if reader else []
    needed = maps_of(channels)
    for name in needed:
        if frames and not any(_file(frame, name) for frame in frames):
            raise ValueError(f"{_lack(folder, name)}. Leave it out, or choose other --channels.")
    return [frame for frame in frames if _is_whole(frame, needed, bad)]


def _is_whole(frame: Frame, needed: tuple[str, ...], bad: BadFrames) -> bool:
    """Whether a frame has the files of the needed maps; it is bad if one is not named, or not there."""
    for name in needed:
        path = _file(frame, name)
        if path is not None and path.is_file():
            continue
        what = "depth map" if name == DEPTH else "photo" if name == COLOR else f"map {name}"
        unnamed = f"{frame.file} has no {what}, which other frames of its folder have. Name it, or drop the frame."
        missing = f"{path} is missing: photo and depth must come in pairs. Restore it or drop the frame."
        bad.add(ValueError(unnamed) if path is None else FileNotFoundError(missing))
        return False
    return True


def _file(frame: Frame, name: str) -> Path | None:
    """The file that a map is read or computed from; normals can be computed from depth."""
    files = {COLOR: frame.color, DEPTH: frame.depth, "normal": frame.depth}
    return (files | dict(frame.maps)).get(name)


def _lack(folder: Path, name: str) -> str:
    if name == DEPTH and (folder / "transforms.json").is_file():
        return f"{folder / 'transforms.json'} names no depth (`depth_file_path`), so no prior can learn depth from it"
    what = {COLOR: "no photos", DEPTH: "no depth maps", "normal": "neither a map normal nor depth"}
    return f"{folder} has {what.get(name, f'no map {name}')}, which the channels need"


def _check_sizes(frames: list[Frame], bad: BadFrames) -> None:
    """Remove photos of another size than the others of their folder, where one focal length is given for all."""
    from PIL import Image

    groups: dict[str, list[Frame]] = {}
    for frame in frames:
        if frame.shared:
            groups.setdefault(frame.scene, []).append(frame)
    odd = set()
    for group in groups.values():
        sizes = {}
        for frame in group:
            try:
                with Image.open(frame.file) as image:
                    sizes[frame] = image.size
            except (OSError, SyntaxError):
                continue  # reported when the frame is read
        common = Counter(sizes.values()).most_common(1)
        for frame in (f for f, size in sizes.items() if size != common[0][0]):
            here, there = ("{}x{}".format(*size) for size in (sizes[frame], common[0][0]))
            message = (
                f"{frame.file} has {here} pixels, but the others of its folder have {there}, and one focal length is "
                "given for all. Remove it, or put it into a folder with its own camera."
            )
            bad.add(ValueError(message))
            odd.add(frame)
    if odd:
        frames[:] = [frame for frame in frames if frame not in odd]
