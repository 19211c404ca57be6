"""`transforms.json` in its dialects: nerfstudio's, instant-ngp's, Blender's `transforms_train.json`, and their kin.

Poses have OpenGL axes (x right, y up, z back). `applied_transform` and `applied_scale` are in the poses already. Three
keys are extensions: `"metric": true` declares lengths in metres where no depth map implies it, and `near` and `far` are
the range of depths, in the file's unit.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scorereg._io import read_json
from scorereg.files.images import IMAGE_SUFFIXES
from scorereg.files.layouts.float_unit import with_float_unit
from scorereg.files.layouts.parsing import Bad, raise_it
from scorereg.files.layouts.poses import lost_words
from scorereg.files.layouts.transforms_frame import UNITS, file_name, matrix_of, view_of
from scorereg.files.layouts.transforms_split import check_apart, split_of
from scorereg.files.layouts.unknown_keys import check_keys, unread
from scorereg.files.names import Names, real_path, shown
from scorereg.files.view import Listing, View

__all__ = ["has_transforms", "read_transforms"]

_ONE, _TRAIN = "transforms.json", "transforms_train.json"
_MANY = 100  # held-out photos, beyond which they are thinned as few-view papers do: NeRF's own scenes have 200
_NEARLY = 1e-6  # share by which two writings of one pose may differ
_Entry = dict[str, Any]


def has_transforms(folder: Path) -> bool:
    """Whether a folder has a `transforms.json`, or Blender's `transforms_train.json`."""
    return any((folder / name).is_file() for name in (_ONE, _TRAIN))


def read_transforms(folder: Path, bad: Bad = raise_it) -> Listing:
    """Read a folder with `transforms.json`, or else with `transforms_train.json` and perhaps `_val` and `_test`.

    Frames are in the order of their names; those of Blender's files in that of the files, `val` standing for `test` if
    that lacks. A frame may have a photo or a depth map alone; one without a matrix has no pose. A photo that is listed
    twice with one pose counts once. Keys ending in `_file_path` that are not known name maps. `dynamic_mask_NAME.png`
    beside a photo marks pixels to leave out, as instant-ngp has it.

    Args:
        folder: The folder.
        bad: Is given the error of a frame that cannot be used.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a file is broken, or says something that cannot be used.
    """
    return _whole(folder, folder / _ONE, bad) if (folder / _ONE).is_file() else _parts(folder, bad)


def _whole(folder: Path, path: Path, bad: Bad) -> Listing:
    table, names = _table(path), Names(folder, path)
    found, left_out = _views(folder, path, table, names, bad)
    found, unit = _units(found, path, table)
    views = tuple(sorted(found, key=lambda view: shown(view.file, folder)))
    train, test = split_of(folder, path, table, views, left_out, names)
    points, missing = _points(folder, path, table, names)
    applied = table.get("applied_transform")
    applied = None if applied is None else matrix_of(applied, "applied_transform", str(path))
    others = [f"{path} is read; {_TRAIN} and its kin beside it are not."] if (folder / _TRAIN).is_file() else []
    said = *unread(table, table["frames"], path), *_lost(folder, path, views), *unit, *missing, *names.said, *others
    return Listing(path, views, _metric(path, table, views), points, applied, train, test, said, "opengl")


def _parts(folder: Path, bad: Bad) -> Listing:
    """The files of Blender's layout: the split that they are."""
    paths = {part: folder / f"transforms_{part}.json" for part in ("train", "val", "test")}
    tables = {part: _table(path, least=part == "train") for part, path in paths.items() if path.is_file()}
    first, names = paths["train"], Names(folder, paths["train"])
    views: list[View] = []
    where: dict[str, tuple[int, ...]] = {}
    said = []
    for part, table in tables.items():
        if not table["frames"]:
            continue  # a split that is not used
        if part != "train" and not _rendered(table, names):
            said.append(f"{paths[part]}: none of its {len(table['frames'])} photos is there, so it is not read.")
            continue
        found, _ = _views(folder, paths[part], table, names, bad)
        found, unit = _units(found, paths[part], table)
        said += [*unread(table, table["frames"], paths[part]), *_lost(folder, paths[part], found), *unit]
        where[part] = tuple(range(len(views), len(views) + len(found)))
        views += found
    held = where.get("test", where.get("val"))
    if held and len(held) > _MANY:
        said.append(f"{folder}: of its {len(held)} held-out photos every 8th is used.")
        held = held[::8]
    train = where["train"] if held is not None else None
    check_apart(folder, first, views, train or (), held or ())
    points, missing = _points(folder, first, tables["train"], names)
    source = folder if len(where) > 1 else first
    said = *said, *missing, *names.said
    metric = _metric(first, tables["train"], views)
    return Listing(source, tuple(views), metric, points, None, train, held, said, "opengl")


def _table(path: Path, *, least: int = 1) -> _Entry:
    table = read_json(path, "Write it again.")
    frames = table.get("frames")
    if not isinstance(frames, list) or len(frames) < least or not all(isinstance(frame, dict) for frame in frames):
        raise ValueError(f"{path}: `frames` must be a list of at least one frame; write the file again.")
    check_keys(table, frames, path)
    return table


def _rendered(table: _Entry, names: Names) -> bool:
    """Whether any photo of a file is there: BlenderNeRF writes the cameras of photos that it does not render."""
    written = (frame.get("file_path") for frame in table["frames"])
    return any(names.find(name, IMAGE_SUFFIXES)[0].is_file() for name in written if isinstance(name, str))


def _views(folder: Path, path: Path, table: _Entry, names: Names, bad: Bad) -> tuple[list[View], set[Path]]:
    """The views of a file's frames, each photo once; and the photos of frames that cannot be used."""
    views: dict[Path, View] = {}
    left_out = set()
    for entry in table["frames"]:
        try:
            view = view_of(folder, path, table, entry, names)
            if (place := real_path(view.file)) in views:
                _check_same(views[place], view, path)
            views.setdefault(place, view)
        except (OSError, ValueError) as error:
            bad(error)
            if name := entry.get("file_path") or entry.get("depth_file_path"):
                left_out.add(real_path(names.find(str(name), IMAGE_SUFFIXES)[0]))
    return list(views.values()), left_out - views.keys()


def _check_same(one: View, other: View, path: Path) -> None:
    """Check that a photo which is listed twice has the same pose and lens both times."""
    a, b = one.pose or (), other.pose or ()
    most = _NEARLY * max((abs(x) for x in (*a, *b)), default=1.0)
    same = len(a) == len(b) and all(abs(x - y) <= most for x, y in zip(a, b, strict=True))
    if not same or one.lens != other.lens:
        what = "lenses" if same else "poses"
        raise ValueError(f"{path}: {one.file} is listed twice, with two {what}; remove one of the two frames.")


def _units(views: list[View], path: Path, table: _Entry) -> tuple[list[View], tuple[str, ...]]:
    stated = any(entry.get(key) is not None for entry in (table, *table["frames"]) for key in UNITS)
    return (views, ()) if stated else with_float_unit(views, path)


def _lost(folder: Path, path: Path, views: Sequence[View]) -> tuple[str, ...]:
    lost = [shown(view.file, folder) for view in views if view.pose is None]
    return lost_words(path, lost, len(views))


def _metric(path: Path, table: _Entry, views: Sequence[View]) -> bool | None:
    """Whether the poses are in metres: as the file says, else if there is depth, which its unit makes metres."""
    metric = table.get("metric")
    if metric is not None and not isinstance(metric, bool):
        raise ValueError(f"{path}: `metric` must be true or false, but is {metric!r:.40}.")
    return metric if metric is not None else True if any(view.depth for view in views) else None


def _points(folder: Path, path: Path, table: _Entry, names: Names) -> tuple[Path | None, tuple[str, ...]]:
    """The file of sparse points; a line if it is missing, as a scene can do without."""
    name = file_name(table, ("ply_file_path",), str(path))
    points = names.find(name)[0] if name else None
    if points is None or points.is_file():
        return points, ()
    return None, (f"{path}: {shown(points, folder)}, its sparse points, is missing; near and far are found without.",)
