"""Pictures that Pillow decodes: opened within a limit of pixels, errors of one line, EXIF's orientation."""

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

from scorereg.files.png import check_sums, exif_of
from scorereg.files.said import FileWarning
from scorereg.files.sniff import RAW_ADVICE, first_bytes, picture_kind
from scorereg.files.turn import inverse, turns_sides

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["MOST_PIXELS", "PICTURE_STARTS", "Facts", "Refused", "check_pixels", "open_picture"]

MOST_PIXELS = 256_000_000
"""Pixels of the largest picture that is read; phones make 200 megapixels."""

# Others run Ghostscript (EPS), or hold no pixels.
_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "PPM", "JPEG2000", "AVIF", "TGA", "SGI", "PCX", "QOI")
_DNG_VERSION, _WIDTH, _HEIGHT, _PHOTOMETRIC, _ORIENTATION = 50706, 256, 257, 262, 274  # tags of TIFF and EXIF
_ANIMATED = ("PNG", "GIF", "WEBP", "AVIF", "TIFF")  # the further pictures in an MPO are previews and depth
PICTURE_STARTS = (
    b"\x89PNG", b"\xff\xd8", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"RIFF", b"BM", b"GIF8", b"\0\0\0\x0cjP",
)  # fmt: skip
"""First bytes of the commoner formats."""
_lock = threading.Lock()
T = TypeVar("T")


class Refused(ValueError):
    """An error whose one line says all; `open_picture` lets it pass."""


@dataclass(frozen=True)
class Facts:
    """What a picture's header says.

    Args:
        size: Width and height as stored.
        orientation: EXIF's, 1 to 8.
        done: The orientation that the decoder applies by itself, 1 or the same.
        format: Pillow's name of the format, or `"HEIF"`.
        mode: Pillow's mode.
        raw: Pillow's name of how the pixels are stored.
        inverted: Whether 0 is white in 16-bit grey.
    """

    size: tuple[int, int]
    orientation: int
    done: int
    format: str
    mode: str
    raw: str
    inverted: bool = False

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height of the upright picture."""
        width, height = self.size
        return (height, width) if turns_sides(self.orientation) else (width, height)

    def turn(self, *, upright: bool) -> int:
        """The orientation that is left to apply to decoded pixels, for the upright picture or the stored one."""
        wanted = self.orientation if upright else 1
        return wanted if self.done == 1 else inverse(self.done) if wanted == 1 else 1

    @property
    def bits(self) -> int:
        """Bits of a value: 8 at most, 16, or 32 for floats and long integers."""
        if self.mode in ("I", "F"):
            return 16 if self.format == "PPM" and self.mode == "I" else 32
        return 16 if "16" in self.mode or ";16" in self.raw or ";12" in self.raw else 8

    @property
    def grey(self) -> bool:
        """Whether there is one channel."""
        return self.mode in ("1", "L", "I", "F") or self.mode.startswith("I;")


@contextmanager
def open_picture(path: Path, *, decode: bool = True) -> "Iterator[tuple[Image, Facts]]":
    """Open a picture; errors in the block, where it is decoded, are of one line that names the file, too.

    Args:
        path: The file.
        decode: Whether its pixels will be read. If not, their checksums are not tested.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If it cannot be opened.
        ValueError: If it is no picture, of a kind that is not read, too large, truncated or corrupt.
    """
    heif = picture_kind(path) == "heif"
    try:
        with path.open("rb") as file, _said_of(path, lambda: _open_heif(path) if heif else _open(file)) as image:
            plain = Facts(image.size, 1, 1, "HEIF", image.mode, image.mode)
            facts = plain if heif else _said_of(path, lambda: _facts(path, image))
            check_pixels(path, facts.size)
            if decode and facts.format == "PNG":
                check_sums(path)
            if decode and facts.format in _ANIMATED and getattr(image, "n_frames", 1) > 1:
                warnings.warn(FileWarning(path, "holds several pictures; the first is read."), stacklevel=5)
            yield image, facts
    except Refused:
        raise
    except MemoryError:
        raise ValueError(f"{path} needs more memory than there is. Reduce it, or leave it out.") from None
    except Exception as error:  # the decoders of a dozen formats raise anything
        raise _damaged(path, error) from None


def check_pixels(path: Path, size: tuple[int, int]) -> None:
    """Check that a picture has pixels, and at most `MOST_PIXELS`.

    Raises:
        Refused: If not.
    """
    if not 0 < size[0] * size[1] <= MOST_PIXELS:
        raise Refused(
            f"{path} has {size[0]}x{size[1]} pixels; pictures of up to {MOST_PIXELS // 1_000_000} megapixels are read. "
            "Reduce it, or leave it out."
        )


def _said_of(path: Path, read: Callable[[], T]) -> T:
    """Return what a reader of heads gives; what Pillow warns of names the file."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        found = read()
    for each in heard[:1]:
        words = f"has damaged data beside its pixels, which is left out ({' '.join(str(each.message).split())[:120]})."
        warnings.warn(FileWarning(path, words, "damaged data"), stacklevel=6)
    return found


def _open(file: IO[bytes]) -> "Image":
    """Open a file by Pillow, whose own limit of pixels, a setting of the whole process, is lifted meanwhile.

    It is given no path, as it would map an uncompressed TIFF into memory and lose the pixels of one that is turned.
    """
    from PIL import Image

    Image.init()
    with _lock:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(file, formats=[name for name in _FORMATS if name in Image.OPEN])
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _open_heif(path: Path) -> "Image":
    try:
        import pillow_heif
    except ImportError:
        raise Refused(
            f"{path} is a HEIC picture, which is read by pillow-heif: pip install 'scorereg[formats]'. Or save it as "
            "JPEG or PNG."
        ) from None
    picture = pillow_heif.open_heif(path)
    check_pixels(path, picture.size)
    return picture.to_pillow()


def _facts(path: Path, image: "Image") -> Facts:
    raw = next((tile[3] for tile in getattr(image, "tile", [])), "")
    raw = str(raw if isinstance(raw, str) else raw[0] if raw else "")
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return Facts(image.size, _orientation(path, image), 1, image.format or "", image.mode, raw)
    if _DNG_VERSION in tags:
        raise Refused(f"{path} {RAW_ADVICE}")
    turn = _orientation(path, image)  # Pillow turns TIFF when it decodes
    inverted = image.mode.startswith("I") and tags.get(_PHOTOMETRIC) == 0
    return Facts((tags[_WIDTH], tags[_HEIGHT]), turn, turn, "TIFF", image.mode, raw, inverted)


def _orientation(path: Path, image: "Image") -> int:
    from PIL import Image

    try:
        data = exif_of(path) if image.format == "PNG" else b""
        if data is None:
            return 1
        exif = Image.Exif()
        exif.load(data)
        value = (exif if data else image.getexif()).get(_ORIENTATION, 1)
    except Exception:  # a broken block of EXIF does no harm to the pixels
        return 1
    return value if isinstance(value, int) and value in range(1, 9) else 1


def _damaged(path: Path, error: Exception) -> ValueError:
    """The error for a picture that its decoder stumbles over."""
    unknown = type(error).__name__ == "UnidentifiedImageError"
    if unknown and not first_bytes(path).startswith(PICTURE_STARTS):
        return ValueError(
            f"{path} cannot be read as an image: its format is not known. Save it as PNG, or leave it out."
        )
    if "support" in str(error).lower() or (unknown and first_bytes(path)[:2] in (b"II", b"MM")):
        words = "its kind of TIFF" if unknown else (str(error).splitlines() or [""])[0].rstrip(".")
        return ValueError(f"{path} is of a kind that is not read ({words}). Save it with 8 or 16 bits, as PNG or TIFF.")
    words = "its header" if unknown else (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    return ValueError(
        f"{path} cannot be read as an image, as it is truncated or corrupt ({words}). Copy it again, or leave it out."
    )
