"""Names of files in a description, however they are written: normalised once, and known by the file that they name."""

import os
import re
import unicodedata
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

__all__ = ["Names", "is_here", "real_path", "shown"]

_LONGEST = 4000  # letters of a path
_REDUCED = (2, 4, 8)  # nerfstudio's folders of smaller copies: images_2, images_4, images_8
_PHOTOS = ("images", "image", "rgb", "color", "photos", "input")  # folders that photos are often in
_DRIVE = re.compile(r"^[A-Za-z]:(?=/)")
_WAYS = {
    "case": "it names files in another case than they have on this disk ({0} is {1})",
    "moved": "it names files that are not there ({0}); those of the same name below its folder are taken ({1})",
    "reduced": "it names files of a folder that is not there ({0}); their smaller copies are taken ({1})",
}


class Names:
    r"""Files that a description names, found below its folder.

    A name may be relative to the folder, with `/` or `\`, `./` and `../`; absolute; a `file://` address; or absolute on
    another machine. It is tried as it stands, and then, which `said` tells, (1) in another case, if one file alone has
    such a name, (2) by its trailing parts, `images/a.png` for `/home/other/scene/images/a.png`, and (3) in the folders
    of smaller copies, `images_2/a.png`, `images_4/...` or `images_8/...` for `images/a.png`.

    Args:
        folder: Folder that names are relative to.
        source: The description, for the lines of `said`.
    """

    def __init__(self, folder: Path, source: Path) -> None:
        self._folder, self._source = folder, source
        self._listed: dict[Path, dict[str, list[str]]] = {}
        self._said: dict[str, tuple[str, str]] = {}

    @property
    def said(self) -> tuple[str, ...]:
        """One line for each way in which names were found that is not how they are written."""
        return tuple(f"{self._source}: {_WAYS[way].format(*example)}." for way, example in sorted(self._said.items()))

    def find(self, name: str, suffixes: tuple[str, ...] = (), *, unlike: Path | None = None) -> tuple[Path, int]:
        """Find the file of a name.

        Args:
            name: The name.
            suffixes: Suffixes that the name may lack, the likeliest first.
            unlike: A file that it cannot be: the photo, for the name of its depth map.

        Returns:
            The file, as a path below the folder if it lies there, and how many times smaller it is than the one that is
            named, 1 but for the folders of smaller copies. If there is no such file, the path where it should be.
        """
        spellings = _spellings(_possible(name))
        for spelling in spellings:
            for path in (self._folder / f"{spelling}{suffix}" for suffix in ("", *suffixes)):
                if is_here(path):
                    return self._below(path), 1
        for spelling in spellings:
            if found := self._loosely(spelling, suffixes, unlike):
                path, way, times = found
                if way:
                    self._said.setdefault(way, (name, shown(path, self._folder)))
                return path, times
        return Path(os.path.normpath(self._folder / spellings[-1])), 1

    def _loosely(self, name: str, suffixes: tuple[str, ...], unlike: Path | None) -> tuple[Path, str, int] | None:
        """Find a file by the trailing parts of its name; the file, how it was found, and how much smaller it is."""
        parts, foreign = _parts(name)
        for start in range(len(parts)):
            head, rest = parts[start], parts[start + 1 :]
            here = rest and self._match(self._folder, head)
            smaller = [(f"{head}_{times}", times) for times in _REDUCED] if rest and not here else []
            for first, times in ((head, 1), *smaller):
                path = self._walk([first, *rest], suffixes)
                if path and not (unlike and path.samefile(unlike)):
                    there = _composed(path.relative_to(self._folder).as_posix())
                    exact = there in {_composed("/".join([first, *rest]) + suffix) for suffix in ("", *suffixes)}
                    way = "reduced" if times > 1 else "moved" if start or foreign else "" if exact else "case"
                    return path, way, times
            if here and not foreign:
                return None  # its folder is here, without it
        if foreign and parts and unlike is None:
            for path in (self._walk([folder, parts[-1]], suffixes) for folder in _PHOTOS):
                if path:
                    return path, "moved", 1
        return None

    def _walk(self, parts: list[str], suffixes: tuple[str, ...]) -> Path | None:
        """Follow the parts of a path below the folder, in any case; None if there is no such file, or more than one."""
        here = self._folder
        for part in parts[:-1]:
            matches = self._match(here, part)
            if len(matches) != 1:
                return None
            here = here / matches[0]
        for suffix in ("", *suffixes):
            matches = [match for match in self._match(here, parts[-1] + suffix) if is_here(here / match)]
            if matches:
                return here / matches[0] if len(matches) == 1 else None
        return None

    def _match(self, folder: Path, name: str) -> list[str]:
        """The entries of a folder with a name: those of the same text, else those that differ in case."""
        if folder not in self._listed:
            table: dict[str, list[str]] = {}
            try:
                for entry in os.scandir(folder):
                    table.setdefault(_composed(entry.name).casefold(), []).append(entry.name)
            except OSError:  # no folder, or none that can be read
                table = {}
            self._listed[folder] = table
        alike = self._listed[folder].get(_composed(name).casefold(), [])
        return [entry for entry in alike if _composed(entry) == _composed(name)] or alike

    def _below(self, path: Path) -> Path:
        """The same file as a path below the folder, if it lies there, without `.` and `..`."""
        plain = Path(os.path.normpath(path))
        plain = path if is_here(path) and not (is_here(plain) and plain.samefile(path)) else plain
        for folder in (Path(os.path.normpath(self._folder.absolute())), real_path(self._folder)):
            for place in (plain.absolute(), real_path(plain)):
                if place.is_relative_to(folder):
                    return self._folder / place.relative_to(folder)
        return plain


def shown(path: Path, folder: Path) -> str:
    """The name of a file as it is shown: relative to a folder, with `..` where it lies elsewhere."""
    return Path(os.path.relpath(path, folder)).as_posix()


def real_path(path: Path) -> Path:
    """The file that a path names, links followed; the path itself if the system knows no such name."""
    try:
        return path.resolve()
    except (OSError, ValueError, RuntimeError):  # with a character that no name has, or links in a circle
        return path


def _possible(name: str) -> str:
    """The name with `?` for letters that no name of a file has, and not too long: it is missing, and no error."""
    if len(name) > _LONGEST:
        name = f"{name[:100]}..."
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        name = name.encode("utf-8", "replace").decode()
    return name.replace("\0", "?")


def _spellings(name: str) -> list[str]:
    """The name as it is, with slashes, and without the signs of a web address; the last one is the plainest."""
    found = [name, slashed := name.strip().replace("\\", "/")]
    address = re.sub(r"^file:(//[^/]*)?(?=/)", "", slashed, flags=re.IGNORECASE)
    found.append(unquote(address))
    found.append(re.sub(r"^/(?=[A-Za-z]:/)", "", found[-1]))  # file:///C:/...
    return list(dict.fromkeys(found))


def _parts(name: str) -> tuple[list[str], bool]:
    """The parts of a path below a folder, and whether it leads out of there: is absolute, or begins with `..`."""
    path = os.path.normpath(_DRIVE.sub("", name))
    parts = [part for part in PurePosixPath(path).parts if part not in ("/", "//", "..", ".")]
    return parts, path.startswith(("/", "..")) or bool(_DRIVE.match(name))


def _composed(name: str) -> str:
    """The name with composed letters: macOS splits é into e and an accent."""
    return unicodedata.normalize("NFC", name)


def is_here(path: Path) -> bool:
    """Whether a path names a file; False too of names that no disk has."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or with a character that no name has
        return False
