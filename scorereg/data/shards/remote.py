"""Files of a folder or behind a URL; the latter are downloaded once into a cache."""

import hashlib
import os
import re
import time
import urllib.error
from http.client import HTTPException
from pathlib import Path

from scorereg._io import check_plain
from scorereg.data.shards.fetch import TooLarge, fetch

__all__ = ["MOST_SHARD", "Location", "bare_name", "checksum", "pinned"]

_TRIES = 4
_LARGEST = 1 << 26  # bytes of a manifest, some 25 times that of Hypersim's
MOST_SHARD = 1 << 31
"""Most bytes of a shard, which is read into memory; `prepare` writes some 10 MB."""
_LONGEST = 200  # letters of a file's name

_URL = re.compile(r"(https?|file):/+")


class Location:
    """A local folder, or one behind an http, https or file URL.

    Args:
        where: A path or URL; the slash of `https://` that `Path` removes is restored. An URL may end in
            `#sha256=HASH`, the checksum that its manifest must have.
        cache: Folder for downloads; `SCOREREG_CACHE`, else `~/.cache/scorereg`, if not given.

    Raises:
        ValueError: If that checksum is none.
    """

    def __init__(self, where: str | Path, cache: Path | None = None) -> None:
        found = _URL.match(str(where))
        self.url, self.pin = None, None
        self.folder = Path(where)
        if found:
            where, mark, pin = str(where).partition("#sha256=")
            self.pin = _checked_hash(pin) if mark else None
            self.url = f"{found[1]}://{'/' if found[1] == 'file' else ''}{str(where)[found.end() :]}".rstrip("/")
            base = cache or Path(os.environ.get("SCOREREG_CACHE", Path.home() / ".cache" / "scorereg"))
            self.folder = base / hashlib.sha256(self.url.encode()).hexdigest()[:16]

    def __str__(self) -> str:
        return self.url or str(self.folder)

    def has(self, name: str) -> bool:
        """Return whether there is such a file; for a URL this is assumed."""
        return self.url is not None or (self.folder / name).is_file()

    def file(self, name: str, sha256: str | None = None, size: int = _LARGEST) -> Path:
        """Return the local path of a file, downloaded if needed.

        Args:
            name: File name in the folder; see `bare_name`.
            sha256: Expected checksum; without it, a file behind a URL is downloaded on every call.
            size: Most bytes to download.

        Raises:
            OSError: If the file is missing or damaged; behind a URL, after four downloads.
            ValueError: If the name is none of a file in the folder.
        """
        path = self.folder / bare_name(name)
        if self.url is None:
            check_plain(path)
            if sha256 is not None and checksum(path) != sha256:
                raise OSError(
                    f"{path} is damaged: its checksum is not the manifest's. Remove it and prepare or fetch it again."
                )
            return path
        known = path.is_file() and not path.is_symlink()  # a link in the cache is replaced, not followed
        if sha256 is not None and known and checksum(path) == sha256:
            return path
        return self._fetched(path, name, sha256, size)

    def _fetched(self, path: Path, name: str, sha256: str | None, size: int) -> Path:
        """Download a file into the cache, up to four times."""
        self.folder.mkdir(parents=True, exist_ok=True)
        reason = ""
        for attempt in range(_TRIES):
            try:
                found = fetch(f"{self.url}/{name}", path, sha256, size)
            except TooLarge as error:
                raise OSError(f"{self.url}/{name} is refused: {error}. Ask who offers it.") from None
            except urllib.error.HTTPError as error:
                if error.code < 500:
                    raise OSError(f"{self.url}/{name} cannot be fetched ({error}). Is the address right?") from None
                reason = str(error)
            except (OSError, HTTPException, ValueError) as error:
                reason = " ".join(str(error).split())[:160] or type(error).__name__
            else:
                if found:
                    return path
                reason = f"its checksum is not {'the one given' if sha256 == self.pin else 'that of the manifest'}"
            time.sleep(0.2 * 4**attempt if attempt < _TRIES - 1 else 0)
        raise OSError(f"{self.url}/{name} cannot be fetched ({reason}), {_TRIES} times. Try again later.")


def pinned(data: list[Path], sha256: str) -> list[Path]:
    """Return the data with the checksum that the manifest of their one URL must have.

    Raises:
        ValueError: If it is no SHA-256, or the data do not have one URL.
    """
    urls = [where for where in data if _URL.match(str(where))]
    if len(urls) != 1:
        raise ValueError(
            f"--sha256 is the checksum of the manifest behind one URL, but {len(urls)} of the data are URLs. "
            "Write URL#sha256=HASH for each."
        )
    _checked_hash(sha256)
    return [Path(f"{where}#sha256={sha256}") if where == urls[0] else where for where in data]


def _checked_hash(sha256: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise ValueError(f"a SHA-256 has 64 digits from 0 to f, but got {sha256!r:.80}.")
    return sha256.lower()


def bare_name(name: object) -> str:
    """Return a name if it is that of a file in a folder: letters, digits, `.`, `_` and `-`, no path.

    Raises:
        ValueError: If it is not, and so could lead out of the folder.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name) or len(name) > _LONGEST:
        raise ValueError(f"{name!r:.80} is no bare file name (letters, digits, '.', '_', '-')")
    return name


def checksum(path: Path) -> str:
    """Return a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
