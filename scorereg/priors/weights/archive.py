"""Files of `torch.save`, read without running code.

torch's own reader accepts tensors, numbers, texts and containers. Training libraries also put records of themselves
into a file (settings of Lightning, NumPy scalars); their classes are replaced by an empty one, so that nothing of them
is imported or called. Any other class or function is refused. A file is a zip archive without compression, whose
checksums torch ignores; they are checked here.
"""

import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from scorereg.priors.weights.other_formats import other_format

__all__ = ["check_name", "check_start", "read_content"]

_RECORDS = (
    "pytorch_lightning.", "lightning.", "lightning_fabric.", "omegaconf.", "argparse.", "pathlib.", "numpy.", "typing.",
    "enum.", "collections.defaultdict", "ema_pytorch.", "torch.optim.", "torch.torch_version.",
    "builtins.list", "builtins.dict", "builtins.tuple", "builtins.int", "builtins.float", "builtins.str",
    "builtins.bool", "builtins.set", "builtins.frozenset", "builtins.slice", "builtins.range",
)  # fmt: skip
_REFUSED = re.compile(r"Unsupported global: GLOBAL (\S+) was not")
_CUT = re.compile(r"[Rr]an out of input|truncated|unexpected EOF|unexpected pos|exhausted before reading")
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
_MOST_CLASSES = 50
_CHUNK = 1 << 22


class _Record:
    """Stands for the class of a record: a call gives an empty dictionary, which torch's reader lets the file fill."""

    def __new__(cls, *args: Any, **settings: Any) -> Any:
        return OrderedDict()


class _Number:
    """Stands for NumPy's classes and functions: calling it gives an object without a state."""

    def __init__(self, *args: Any, **settings: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


def read_content(path: Path) -> Mapping[Any, Any]:
    """Return what a file of `torch.save` holds, or an empty mapping for anything but a dictionary.

    Raises:
        OSError: If there is no such file, or it cannot be opened.
        ValueError: If it is damaged, no such file, or names a class or function other than records of training.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file. Name a checkpoint, such as model-10.pt.")
    check_start(path)
    _check_end(path)
    if zipfile.is_zipfile(path):
        _check_records(path)
    try:
        content = _load(path)
    except Exception as error:  # torch and pickle have no common type of error; OSError among them, for a cut file
        if _CUT.search(str(error)):
            raise ValueError(_cut(path)) from None
        line = f"{path} is no readable checkpoint, or holds code, which is not run ({_reason(error)})."
        raise ValueError(f"{line} Save it again as tensors only: torch.save(network.state_dict(), file).") from None
    return content if isinstance(content, Mapping) else {}


def _check_end(path: Path) -> None:
    """Refuse a zip archive that was cut, as its list of records is at its end."""
    with path.open("rb") as file:
        start = file.read(4)
    if start == _ZIP and not zipfile.is_zipfile(path):
        raise ValueError(_cut(path))


def _cut(path: Path) -> str:
    size = path.stat().st_size
    return f"{path} is no readable checkpoint: its end is missing, after {size:,} bytes. Copy or download it again."


def _load(path: Path) -> Any:
    """Load, with an empty class in place of each record of training that the file names."""
    empty: list[tuple[type, str]] = []
    while True:
        try:
            with torch.serialization.safe_globals(list(empty)), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of torch, on old formats
                return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            found = _REFUSED.search(str(error))
            name = found[1] if found and "." in found[1] else f"builtins.{found[1]}" if found else ""
            if not name.startswith(_RECORDS) or len(empty) == _MOST_CLASSES or any(name == known for _, known in empty):
                raise
            empty.append((_Number if name.startswith("numpy.") else _Record, name))


def _reason(error: Exception) -> str:
    if "DTensor" in str(error):
        return "it holds the shards of a distributed run, which have to be gathered before they are saved"
    code = re.search(r"GLOBAL (\S+)", str(error))
    if code:  # replaces torch's advice on how to run the code
        return f"it names {code[1]}"
    line = (str(error).strip().splitlines() or [""])[0][:160]
    if not re.search("[a-z]{3}", line):
        return f"no file of torch.save, {type(error).__name__}"
    return "a pickle that torch refuses" if line.startswith("Weights only") else line


def check_start(path: Path) -> None:
    """Refuse kinds of files that are met under a checkpoint's name, by their first bytes."""
    with path.open("rb") as file:
        start = file.read(1 << 16)
    if not start:
        raise ValueError(f"{path} is empty. Copy or download it again.")
    if start.startswith(b"version https://git-lfs"):
        raise ValueError(f"{path} is a pointer of Git LFS, not the weights. Fetch them: git lfs pull.")
    if b"_reconstruct_persistent_obj" in start or b"torch_utils.persistence" in start:
        raise ValueError(
            f"{path} is a snapshot of EDM or StyleGAN, a pickle that holds code, which is not run. Open it with their "
            "code and pass the network: load_prior(pickle.load(file)['ema'])."
        )
    if (text := other_format(path, start)) is not None:
        raise ValueError(f"{text}.")
    if path.suffix in (".json", ".yaml", ".yml"):
        raise ValueError(f"{path} holds settings, not weights. Give its folder: load_prior({str(path.parent)!r}).")
    if start[:2] == b"\x1f\x8b" or start[257:262] == b"ustar":
        raise ValueError(f"{path} is a packed archive. Unpack it and give the folder or file inside.")
    if start.lstrip()[:1] == b"<" and (b"<html" in start.lower() or b"<!doctype" in start.lower()):
        raise ValueError(f"{path} is a web page: the download got one in place of the file. Download it again.")


def check_name(path: Path) -> None:
    """Refuse a file of torch.save under the name of a safetensors file.

    Raises:
        OSError: If it cannot be opened.
        ValueError: If it is one.
    """
    with path.open("rb") as file:
        start = file.read(9)
    if (start[:4] == _ZIP and zipfile.is_zipfile(path)) or (start[:1] == _PICKLE and start[8:9] != b"{"):
        kind = ".bin" if path.stem.startswith(("diffusion_pytorch_model", "pytorch_model", "model")) else ".pt"
        raise ValueError(
            f"{path} is a file of torch.save, and no safetensors file, whose name it has. Rename it: {path.stem}{kind}."
        )


def _check_records(path: Path) -> None:
    """Refuse an archive with compressed records, which could grow without end, or with a damaged one."""
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
            if not any(record.filename.endswith((".pkl", "version")) for record in records):
                raise ValueError(f"{path} is an archive of other files. Unpack it and give the folder or file inside.")
            if any("/code/" in record.filename for record in records):
                raise ValueError(f"{path} is a TorchScript program. Wrap it: scorereg.wrap(torch.jit.load(file), ...).")
            for record in records:
                if record.compress_type != zipfile.ZIP_STORED:
                    raise ValueError(f"{path} has compressed records, unlike torch.save's. Unpack and save it again.")
            bad = [record.filename for record in records if not _sound(archive, record)]
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, OverflowError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is a damaged archive ({error}). Copy or download it again.") from None
    tensors = [record.filename for record in records if "/data/" in record.filename]
    if bad and not (len(tensors) > 1 and set(tensors) <= set(bad)):  # all are wrong where checksums were switched off
        raise ValueError(f"{path} is damaged: the checksum of {bad[0]} is wrong. Copy or download it again.")


def _sound(archive: zipfile.ZipFile, record: zipfile.ZipInfo) -> bool:
    try:
        with archive.open(record) as stream:
            while stream.read(_CHUNK):
                pass
    except zipfile.BadZipFile:
        return False
    return True
