"""What kind of file it is, by its first bytes: a picture that can be read, or something else that is called one."""

from pathlib import Path
from typing import Literal

from scorereg._io import check_plain

__all__ = ["RAW_ADVICE", "RAW_SUFFIXES", "Kind", "first_bytes", "picture_kind"]

Kind = Literal["pillow", "exr", "heif"]

RAW_SUFFIXES = (
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".gpr", ".iiq", ".kdc", ".mef", ".mos", ".mrw",
    ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
)  # fmt: skip
RAW_ADVICE = "is camera RAW, which has no colours yet. Develop it to JPEG, or to PNG or TIFF of 16 bits."
_RAW = (b"II*\0\x10\0\0\0CR", b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"IIU\0", b"FOVb", b"\0MRM")
_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
_AVIF = (b"avif", b"avis")
_EITHER = (b"mif1", b"msf1", b"miaf")
_OTHERS = {  # first bytes, what it is, what to do
    b"version https://git-lfs": ("a pointer of Git LFS, not the file itself", "Run git lfs pull"),
    b"%PDF": ("a PDF document", "Export its pictures as PNG"),
    b"%!PS": ("a PostScript document", "Export it as PNG"),
    b"\x1aE\xdf\xa3": ("a film", "Cut frames out of it with ffmpeg"),
    b"PK\3\4": ("a zip archive", "Unpack it"),
    b"\x1f\x8b": ("a gzip archive", "Unpack it"),
    b"\x93NUMPY": ("a NumPy array", "Save it as PNG"),
    b"\xff\x0a": ("a JPEG XL picture, which is not read", "Save it as PNG or JPEG"),
    b"\0\0\0\x0cJXL ": ("a JPEG XL picture, which is not read", "Save it as PNG or JPEG"),
}


def picture_kind(path: Path) -> Kind:
    """Which reader a picture needs; the file's name plays no part but for camera RAW.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If it cannot be opened.
        ValueError: If it is known to be no picture, or one of a kind that is not read.
    """
    start = first_bytes(path)
    brand = start[8:12] if start[4:8] == b"ftyp" else b""
    if path.suffix.lower() in RAW_SUFFIXES or start.startswith(_RAW) or brand == b"crx ":
        raise ValueError(f"{path} {RAW_ADVICE}")
    if start.startswith(b"\x76\x2f\x31\x01"):
        return "exr"
    if brand in _HEIF or (brand in _EITHER and not any(name in start[8:64] for name in _AVIF)):
        return "heif"
    what = "empty", "Copy it again"
    if start:
        what = next((words for begin, words in _OTHERS.items() if start.startswith(begin)), None)
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<svg", b"<head", b"<!--")):
        what = ("a drawing (SVG)", "Export it as PNG") if b"<svg" in text else ("a web page", "Download the file again")
    if brand and brand not in (*_AVIF, *_EITHER, b"jp2 "):
        what = "a film", "Cut frames out of it with ffmpeg"
    if what:
        raise ValueError(f"{path} is no picture: it is {what[0]}. {what[1]}, or leave it out.")
    return "pillow"


def first_bytes(path: Path, count: int = 512) -> bytes:
    """The first bytes of a file.

    Raises:
        OSError: In one line, if it is missing, no plain file (a folder, pipe or device), or cannot be opened.
    """
    check_plain(path)
    try:
        with path.open("rb") as file:
            return file.read(count)
    except FileNotFoundError:
        what = "is a link to a file that is not there" if path.is_symlink() else "is missing"
        raise FileNotFoundError(f"{path} {what}. Add the file, or leave it out.") from None
    except OSError as error:
        raise OSError(f"{path} cannot be opened ({error.strerror or error}). Correct its name or its rights.") from None
