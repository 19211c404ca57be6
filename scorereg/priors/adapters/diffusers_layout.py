"""Where in a folder of diffusers the network, its scheduler and a decoder of latents lie.

pipeline        model_index.json, and a folder for each part; or all parts in one folder (the earliest models)
training run    checkpoint-500/ with unet_ema/ and unet/, and the scheduler here or one folder above
model           config.json and weights; the scheduler here, or in ../scheduler
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scorereg._io import read_json
from scorereg.priors.adapters.diffusers_parts import CONFIG, SCHEDULER
from scorereg.priors.adapters.diffusers_pipelines import (
    WRAP_PART,
    check_pipeline,
    check_scheduler_of_index,
    warn_of_pipeline,
)
from scorereg.priors.adapters.schedulers import family_of
from scorereg.priors.card import CARD_FILE

__all__ = [
    "DECODERS",
    "MODEL_INDEX",
    "Layout",
    "check_card_of_pipeline",
    "is_diffusers_folder",
    "layout_of",
    "parts_of",
]

MODEL_INDEX = "model_index.json"
DECODERS = ("vae", "vqvae", "movq", "vqgan", "autoencoder", "first_stage_model")
_LIBRARIES = ("diffusers", "transformers", None)
_REMEDY = "Copy or download it again."
HARMLESS = ("feature_extractor", "safety_checker", "image_processor", "watermarker", "mel")


@dataclass(frozen=True)
class Layout:
    """Folders of a model's parts.

    Args:
        model: The network's.
        scheduler: The scheduler's; None if there is none.
        decoder: That of the decoder, for a network of latents.
        note: Which weights they are, where there are several.
    """

    model: Path
    scheduler: Path | None
    decoder: Path | None = None
    note: str = ""


def is_diffusers_folder(folder: Path) -> bool:
    """Return whether a folder is diffusers' own, not one of scorereg's: those are flat, with a card and EDM noise."""
    if (folder / MODEL_INDEX).is_file() or _averaged(folder) is not None:
        return True
    path = folder / SCHEDULER
    if path.is_file():
        return read_json(path, "Copy or download it again.").get("_class_name") != "EDMEulerScheduler"
    return (folder / CONFIG).is_file() and not (folder / CARD_FILE).is_file()


def check_card_of_pipeline(folder: Path) -> None:
    """Check that no card of a network trained here (EDM) lies in the folder of a pipeline or of a training run.

    Raises:
        ValueError: If one does; to name channels is not its purpose.
    """
    whole = (folder / MODEL_INDEX).is_file() or (
        (folder / "unet" / CONFIG).is_file() and not (folder / CONFIG).is_file()
    )
    if whole:
        kind = read_json(folder / MODEL_INDEX, _REMEDY).get("_class_name") if (folder / MODEL_INDEX).is_file() else None
        raise ValueError(
            f"{folder / CARD_FILE} says prediction 'edm', of a network that was trained here, but the folder is of a "
            f"{kind or 'training of diffusers'}. Remove the card, and name the channels: "
            f"load_prior({str(folder)!r}, channels=(...))."
        )


def layout_of(folder: Path) -> Layout:
    """Return where the parts of an unconditional model are.

    Raises:
        FileNotFoundError: If there is no network.
        ValueError: If it is a pipeline of another kind.
    """
    if (folder / MODEL_INDEX).is_file():
        return _pipeline(folder)
    trained = _averaged(folder)
    if trained is not None:
        note = "weights: unet_ema, averaged" if trained.name == "unet_ema" else "weights: unet, not averaged"
        return Layout(trained, _scheduler(folder, folder / "scheduler", folder.parent / "scheduler"), note=note)
    above = folder.parent / MODEL_INDEX
    if above.is_file() and folder.name in parts_of(folder.parent):  # a part of a pipeline
        whole = _pipeline(folder.parent)
        return whole if whole.model == folder else Layout(folder, whole.scheduler, whole.decoder)
    note = "weights: unet, not averaged; averaged ones are in ../unet_ema" if _has_average(folder) else ""
    places = (folder, folder.parent / "scheduler", folder.parent.parent / "scheduler")
    return Layout(folder, _scheduler(*(places if folder.name in ("unet", "unet_ema") else places[:2])), note=note)


def parts_of(folder: Path) -> dict[str, str]:
    """Return the classes of a pipeline's parts by name, from its `model_index.json`.

    Raises:
        ValueError: If the file cannot be read.
    """
    index: dict[str, Any] = read_json(folder / MODEL_INDEX, _REMEDY)
    parts = {name: value for name, value in index.items() if not name.startswith("_") and isinstance(value, list)}
    return {name: value[1] for name, value in parts.items() if len(value) == 2 and isinstance(value[1], str)}


def _pipeline(folder: Path) -> Layout:
    parts = parts_of(folder)
    kind = _checked_kind(folder / MODEL_INDEX)
    check_pipeline(f"{folder / MODEL_INDEX} is of", kind)
    if parts and "unet" not in parts:
        raise ValueError(
            f"{folder / MODEL_INDEX} is of a {kind} of {', '.join(parts)}, without a unet; supported are unconditional "
            f"pipelines with a UNet2DModel, and StableDiffusionPipeline. {WRAP_PART}"
        )
    decoders = [name for name in parts if name in DECODERS]
    others = [name for name in parts if name not in ("unet", "scheduler", *DECODERS, *HARMLESS)]
    if "text_encoder" in others:
        raise ValueError(
            f"{folder / MODEL_INDEX} is of a {kind}, conditioned on a text. Give its folder and the text: "
            f"load_prior({str(folder)!r}, prompt='...')."
        )
    if others or len(decoders) > 1:
        raise ValueError(
            f"{folder / MODEL_INDEX} is of a {kind} with {', '.join(others or decoders)}, which is not supported; "
            f"supported are unconditional pipelines with a UNet2DModel, and StableDiffusionPipeline. {WRAP_PART}"
        )
    decoder = _part(folder, decoders[0]) if decoders else None
    scheduler = _scheduler(folder / "scheduler", folder)
    _check_scheduler(folder / MODEL_INDEX, kind, parts.get("scheduler"), scheduler)
    return Layout(_part(folder, "unet"), scheduler, decoder)


def _check_scheduler(index: Path, kind: str, told: str | None, scheduler: Path | None) -> None:
    """Check that a pipeline, the scheduler that it names, and the one in its folder belong together."""
    own = read_json(scheduler / SCHEDULER, _REMEDY).get("_class_name") if scheduler is not None else None
    if scheduler is not None and isinstance(own, str) and family_of(own) is not None:  # else refused where it is read
        check_scheduler_of_index(index, told, scheduler / SCHEDULER, own)
        check_pipeline(f"{index} is of", kind, own)
    warn_of_pipeline(index, kind)


def _checked_kind(path: Path) -> str:
    """The class of a pipeline, after a check that no part of it is of a library whose code would have to be run."""
    index: dict[str, Any] = read_json(path, _REMEDY)
    for name, value in {"_class_name": None, **index}.items():
        if name == "_class_name":
            known = isinstance(value, str)
        elif name in ("unet", "scheduler", *DECODERS) or (isinstance(value, list) and name not in HARMLESS):
            known = isinstance(value, list) and len(value) == 2 and value[0] in _LIBRARIES
        else:
            known = True
        if not known:
            words = f"names {value!r:.80} for {name:.40}, which is no class of {' or '.join(filter(None, _LIBRARIES))}"
            raise ValueError(f"{path} {words}. {_REMEDY}")
    return index["_class_name"]


def _part(folder: Path, name: str) -> Path:
    """The folder of a part: its own, or in the earliest pipelines the pipeline's."""
    return folder / name if (folder / name).is_dir() or not (folder / CONFIG).is_file() else folder


def _scheduler(*places: Path) -> Path | None:
    return next((place for place in places if (place / SCHEDULER).is_file()), None)


def _averaged(folder: Path) -> Path | None:
    """The network of a training checkpoint: the averaged one if it is there."""
    places = (folder / "unet_ema", folder / "unet")
    return next((place for place in places if (place / CONFIG).is_file()), None)


def _has_average(folder: Path) -> bool:
    return folder.name == "unet" and (folder.parent / "unet_ema" / CONFIG).is_file()
