"""Find frames on disk: which photo belongs to which depth map, with what focal length and depth unit.

A folder's layout is recognised by its content (`files.layouts.find`, and Hypersim's); a root that holds many such
folders is searched, links are followed once, and hidden files are left out. Where nothing is found, images of any name
will do for colour alone. Depth is planar z.
"""

import dataclasses
import warnings
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

from scorereg._progress import steps
from scorereg.data.bad_frames import BadFrames
from scorereg.data.channels import COLOR, DEPTH, RGBD, maps_of
from scorereg.data.frames.copies import copied_words
from scorereg.data.frames.frame import Frame, frame_of
from scorereg.data.frames.hypersim import find_hypersim, is_hypersim
from scorereg.data.frames.images import find_images
from scorereg.data.frames.photos import photos_among
from scorereg.files.foreign import foreign_words
from scorereg.files.images import IMAGE_SUFFIXES, read_head
from scorereg.files.layouts.find import layout_of
from scorereg.files.layouts.lenses import NoCamera
from scorereg.files.layouts.parsing import scene_name
from scorereg.files.layouts.poses import is_lost
from scorereg.files.said import FileWarning, gathered
from scorereg.files.view import Listing, View
from scorereg.files.walk import walk

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
        with gathered():
            each = steps("finding frames, folders", folders)
            found = [frame for folder in each for frame in _read_folder(folder, channels, bad)]
        if not folders and maps_of(channels) == (COLOR,):
            found = [frame for frame in _photos(path) if not _matches(frame.file.parent, bad.options.exclude)]
        if not found and not bad.messages:
            raise _nothing(path, bad.left_out[left_out:])
        frames += found
    _check_sizes(frames, bad)
    if words := copied_words(frames):
        warnings.warn(words, stacklevel=2)
    return [dataclasses.replace(frame, unit=frame.unit * depth_factor) for frame in frames]


def rgbd_folders(root: Path) -> list[Path]:
    """Return the folders with a known layout at or below `root`; the inside of such a folder is not searched."""
    found = []
    for here, folders, _ in walk(root):
        if is_hypersim(folders) or layout_of(here):
            found.append(here)
            folders.clear()
    return found


def _photos(root: Path) -> list[Frame]:
    """Images at or below a folder, without a camera: their focal length is unknown."""
    return [Frame(scene_name(path.parent), path, None, None) for path in find_images(root)]


def _plain(root: Path) -> list[Frame]:
    """Photos of a folder whose lens nothing tells; its depth maps are left out."""
    images = [here / name for here, _, names in walk(root) for name in names]
    photos, _ = photos_among([path for path in images if path.suffix.lower() in IMAGE_SUFFIXES], root)
    return [Frame(scene_name(root), path, None, None) for path in photos]


def _nothing(path: Path, left_out: list[str]) -> ValueError:
    why = f" ({'; '.join(left_out[:3])})" if left_out else ""
    if not left_out and (found := foreign_words(path)):
        return ValueError(f"{path} holds no RGB-D frames. {found}.")
    return ValueError(
        f"{path} holds no RGB-D frames{why}. Expected below it: transforms.json with depth_file_path, frames.json, "
        "rgb/ and depth/ with intrinsics.json, *.color.jpg and *.depth.png with camera-intrinsics.txt, the layouts of "
        "TUM RGB-D, ScanNet, Replica, Polycam or Hypersim, or, for --channels rgb, images of any name."
    )


def _matches(folder: Path, patterns: tuple[str, ...]) -> bool:
    names = [folder.name, folder.parent.name if folder.name == "images" else folder.name]
    return any(fnmatch(name, pattern) for name in names for pattern in patterns)


def _read_folder(folder: Path, channels: tuple[str, ...], bad: BadFrames) -> list[Frame]:
    """The frames of a folder that have what the channels need."""
    needed = maps_of(channels)
    if is_hypersim(path.name for path in folder.iterdir() if path.is_dir()):
        parts: list[Frame] | tuple[View, ...] = find_hypersim(folder, bad)
    else:
        reader = layout_of(folder, depth=needed != (COLOR,))
        assert reader is not None, "rgbd_folders returns folders with a layout"
        try:
            listing = reader(folder, bad.add)
        except NoCamera:
            if needed != (COLOR,):
                raise
            return _plain(folder)
        parts = listing.views
        _tell(folder, listing)
    lack = next((name for name in needed if not any(_file(part, name) for part in parts)), None)
    if lack and parts:
        for _ in parts:
            bad.add(ValueError(f"{_lack(folder, lack)}. Leave it out, or choose other --channels."))
        return []
    frames = (_frame(part, folder, needed, bad) for part in parts if _is_whole(part, needed, bad))
    return [frame for frame in frames if frame]


def _tell(folder: Path, listing: Listing) -> None:
    """Warn of what a user should know of a folder; poses play no part in training, and masks neither."""
    for line in listing.said:
        if not is_lost(line):
            warnings.warn(line, stacklevel=5)
    if any(view.mask is not None for view in listing.views):
        warnings.warn(FileWarning(folder, "has masks, which training does not use: all pixels count."), stacklevel=5)


def _frame(part: Frame | View, folder: Path, needed: tuple[str, ...], bad: BadFrames) -> Frame | None:
    """The frame of a view; None if its files are bad."""
    if isinstance(part, Frame):
        return part
    try:
        return frame_of(part, scene_name(folder), needed)
    except (OSError, ValueError) as error:
        bad.add(error)
        return None


def _is_whole(part: Frame | View, needed: tuple[str, ...], bad: BadFrames) -> bool:
    """Whether a frame has the files of the needed maps; it is bad if one is not named, or not there."""
    for name in needed:
        path = _file(part, name)
        if path is not None and path.is_file():
            continue
        what = "depth map" if name == DEPTH else "photo" if name == COLOR else f"map {name}"
        unnamed = f"{part.file} has no {what}, which other frames of its folder have. Name it, or drop the frame."
        missing = f"{path} is missing: photo and depth must come in pairs. Restore it or drop the frame."
        bad.add(ValueError(unnamed) if path is None else FileNotFoundError(missing))
        return False
    return True


def _file(part: Frame | View, name: str) -> Path | None:
    """The file that a map is read or computed from; normals can be computed from depth."""
    files = {COLOR: part.color, DEPTH: part.depth, "normal": part.depth}
    return (files | dict(part.maps)).get(name)


def _lack(folder: Path, name: str) -> str:
    if name == DEPTH and (folder / "transforms.json").is_file():
        return f"{folder / 'transforms.json'} names no depth (`depth_file_path`), so no prior can learn depth from it"
    what = {COLOR: "no photos", DEPTH: "no depth maps", "normal": "neither a map normal nor depth"}
    return f"{folder} has {what.get(name, f'no map {name}')}, which the channels need"


def _check_sizes(frames: list[Frame], bad: BadFrames) -> None:
    """Remove photos of another size than the others of their folder, where one focal length is given for all."""
    groups: dict[str, list[Frame]] = {}
    for frame in frames:
        if frame.shared and frame.color:
            groups.setdefault(frame.scene, []).append(frame)
    odd = set()
    for group in groups.values():
        sizes = {}
        for frame in group:
            try:
                sizes[frame] = read_head(frame.file).upright
            except (OSError, ValueError):
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
