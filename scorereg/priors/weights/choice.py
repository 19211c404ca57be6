"""Which files of a folder hold a network's weights: whole or in shards, in one precision or another.

    STEM.safetensors                STEM.bin                    whole
    STEM.safetensors.index.json     STEM.bin.index.json         shards, and the list of them
    STEM.fp16.safetensors           STEM.safetensors.index.fp16.json         the same as a variant, here fp16

with the stems of diffusers, accelerate and transformers. A whole file comes before shards, safetensors before a pickle,
and plain weights before a variant.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from scorereg._io import read_json

__all__ = ["WeightFiles", "find_weights"]

STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
_NAME = re.compile(
    rf"(?P<stem>{'|'.join(STEMS)})(?:\.(?P<first>\w+))?\.(?P<kind>safetensors|bin)(?P<index>\.index(?:\.(?P<last>\w+))?\.json)?"
)
_OTHER = ("*.msgpack", "*.onnx", "*.h5", "*.xml", "*.gguf", "*.ckpt", "*.distcp")


@dataclass(frozen=True)
class WeightFiles:
    """Files that together hold one network's weights.

    Args:
        paths: The files.
        variant: The variant that they are, such as `"fp16"`; empty for plain weights.
    """

    paths: tuple[Path, ...]
    variant: str = ""


def find_weights(folder: Path, variant: str | None = None) -> WeightFiles:
    """Return a folder's weight files: those of a variant, else the plain ones, else those of the only variant there is.

    Raises:
        FileNotFoundError: If there are none, or a shard is missing.
        ValueError: If there are several variants and none is named, or the list of shards is damaged.
    """
    found = _by_variant(folder)
    wanted = variant or ""
    if wanted not in found and variant is None and len(found) == 1:
        wanted = next(iter(found))
    if wanted in found:
        return WeightFiles(_shards(found[wanted]) if found[wanted].suffix == ".json" else (found[wanted],), wanted)
    if not found and (shards := _unlisted(folder)):
        index = re.sub(r"-\d+-of-\d+(\.\w+)$", r"\1.index.json", shards[0])
        raise FileNotFoundError(
            f"{folder / index} is missing, the list of the {len(shards)} shards beside it, such as {shards[0]}. Copy "
            "or download the whole folder again."
        )
    if not found:
        raise FileNotFoundError(f"{folder} holds no weights{_others(folder)}. {_EXPECTED}")
    names = ", ".join(name or "plain" for name in sorted(found))
    if variant is None:
        cure = f"load_prior(..., variant={min(found)!r}), or --variant {min(found)}"
        raise ValueError(f"{folder} holds the weights as variants {names}. Choose one: {cure}.")
    raise ValueError(f"{folder} holds no variant {variant!r}; there are {names}. Choose one of them.")


_EXPECTED = "Expected is diffusion_pytorch_model.safetensors or .bin. Copy or download the whole folder again."


def _by_variant(folder: Path) -> dict[str, Path]:
    """The best file of each variant."""
    ranked: dict[str, tuple[tuple[int, bool, bool], Path]] = {}
    for path in sorted(folder.iterdir() if folder.is_dir() else ()):
        match = _NAME.fullmatch(path.name)
        if match is None or not path.is_file():
            continue
        rank = STEMS.index(match["stem"]), match["kind"] == "bin", match["index"] is not None
        variant = match["first"] or match["last"] or ""
        if variant not in ranked or rank < ranked[variant][0]:
            ranked[variant] = rank, path
    return {variant: path for variant, (_, path) in ranked.items()}


def _shards(index: Path) -> tuple[Path, ...]:
    """The files that a list of shards names, which must lie beside it."""
    named = read_json(index, "Copy or download the folder again.").get("weight_map")
    if not isinstance(named, dict) or not named or not all(isinstance(name, str) for name in named.values()):
        raise ValueError(f"{index} lists no shards under `weight_map`. Copy or download the folder again.")
    names = sorted(set(named.values()))
    for name in names:
        if Path(name).name != name or name in ("", ".", ".."):
            raise ValueError(f"{index} names {name!r}, which is no file beside it. Copy or download the folder again.")
        if not (index.parent / name).is_file():
            where = f"{index.parent / name} is missing, one of {len(names)} shards"
            raise FileNotFoundError(f"{where}. Copy or download the whole folder again.")
    return tuple(index.parent / name for name in names)


def _unlisted(folder: Path) -> list[str]:
    """Shards without their list."""
    names = (path.name for path in (folder.iterdir() if folder.is_dir() else ()))
    return sorted(name for name in names if re.fullmatch(r".+-\d+-of-\d+\.(safetensors|bin)", name))


def _others(folder: Path) -> str:
    """Weights in formats that are not read, for the error."""
    names = sorted(path.name for pattern in _OTHER for path in (folder.glob(pattern) if folder.is_dir() else ()))
    return f" that are read ({names[0]} is of another framework or format)" if names else ""
