"""Which frames of `transforms.json` it lists for training, and which it holds out."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from scorereg.files.images import IMAGE_SUFFIXES
from scorereg.files.names import Names, real_path, shown
from scorereg.files.view import View

__all__ = ["check_apart", "split_of"]

_PARTS = ("train", "val", "test")
_Positions = tuple[int, ...]


def split_of(
    folder: Path, path: Path, table: Mapping[str, Any], views: Sequence[View], left_out: Collection[Path], names: Names
) -> tuple[_Positions | None, _Positions | None]:
    """Positions of the views for training and of those held out, in the order of `train_filenames`, `test_filenames`.

    Without a list for training all others are for that; without one of those held out `val_filenames` is it, or else
    all others.

    Args:
        folder: Folder of the file.
        path: The file.
        table: Its entries.
        views: The views of its frames.
        left_out: Photos of frames that cannot be used.
        names: Finds the files of names.

    Returns:
        None and None if the file has no list.

    Raises:
        ValueError: If a name is that of no frame, or is in both lists.
    """
    given = {part: table[f"{part}_filenames"] for part in _PARTS if f"{part}_filenames" in table}
    if not given:
        return None, None
    places = {real_path(view.file): i for i, view in enumerate(views)}
    lists = {part: _positions(chosen, places, left_out, names, path) for part, chosen in given.items()}
    val = lists.get("val", [])
    test = lists.get("test", val if "val" in lists else None)
    train = lists.get("train", [i for i in range(len(views)) if i not in (test or []) and i not in val])
    test = [i for i in range(len(views)) if i not in train] if test is None else test
    check_apart(folder, path, views, train, test)
    return tuple(train), tuple(test)


def check_apart(folder: Path, path: Path, views: Sequence[View], train: Sequence[int], test: Sequence[int]) -> None:
    """Check that no photo is both trained on and held out; photos are known by their files.

    Raises:
        ValueError: If one is.
    """
    held = {real_path(views[i].file) for i in test}
    for view in (views[i] for i in train):
        if real_path(view.file) in held:
            both = "train_filenames and test_filenames"
            where = both if path.name == "transforms.json" else "transforms_train.json and the held-out views' file"
            raise ValueError(f"{path}: {shown(view.file, folder)} is in both {where}; keep it in one.")


def _positions(
    chosen: Any, places: Mapping[Path, int], left_out: Collection[Path], names: Names, path: Path
) -> list[int]:
    found = []
    for name in chosen if isinstance(chosen, list) else [chosen]:
        file = real_path(names.find(name, IMAGE_SUFFIXES)[0] if isinstance(name, str) and name else Path())
        if file in places:
            found.append(places[file])
        elif file not in left_out:
            raise ValueError(f"{path}: {name} in train_filenames or test_filenames is no frame; correct the list.")
    return list(dict.fromkeys(found))
