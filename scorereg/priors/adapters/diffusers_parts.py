"""Parts of a diffusers folder, each with its configuration: networks with their weights, and schedulers.

Only JSON and weights are read, and classes come from the diffusers library alone. Nothing has memory before the
weights' header was compared with the configuration.
"""

import inspect
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scorereg._io import read_json
from scorereg.priors.adapters.schedulers import SCHEDULERS, unsupported_scheduler
from scorereg.priors.weights import WeightFiles, fill_network, find_weights, header_shapes

__all__ = ["CONFIG", "SCHEDULER", "check_class", "read_model", "read_scheduler", "refuse_code"]

CONFIG, SCHEDULER = "config.json", "scheduler_config.json"
_REMEDY = "Copy or download the whole folder of the pipeline or model again."
_AVERAGING = {  # settings of the moving average that a training script keeps beside those of the network
    "decay", "inv_gamma", "min_decay", "optimization_step", "power", "update_after_step", "use_ema_warmup",
    "collected_params",
}  # fmt: skip
_MOST_STEPS = 100_000
CONDITIONED = (
    "It is conditioned: give the folder of its whole pipeline, with prompt=; or bind the condition: "
    "scorereg.wrap(functools.partial(unet, encoder_hidden_states=...), ...)."
)


def read_model(folder: Path, supported: tuple[str, ...], variant: str | None = None) -> tuple[Any, WeightFiles]:
    """Return a network with float32 weights from its folder, and the files that they are from.

    Args:
        folder: With `config.json` and weights.
        supported: Names of the classes that it may be of.
        variant: Which weights, if there are several: `"fp16"`.

    Raises:
        OSError: If its configuration or weights are missing.
        ValueError: If they cannot be read, do not belong together, or are of another class.
    """
    settings = check_class(folder, supported)
    name = settings["_class_name"]
    files = find_weights(folder, variant)
    kind = _class(name)
    known = _known(kind, settings, folder / CONFIG)
    if name == "VQModel" and "scaling_factor" not in settings:  # older than that setting, as are latents without scale
        known["scaling_factor"] = 1.0
        warnings.warn(
            f"{folder / CONFIG} names no scaling_factor: the latents are taken without one, as in latent-diffusion's "
            "VQ models. If they were scaled in training, write it into the file.",
            stacklevel=2,
        )
    _check_sizes(known, sum(len(header_shapes(path)) for path in files.paths), folder / CONFIG)

    def make() -> Any:
        try:
            return kind(**known)
        except Exception as error:  # whatever a wrong setting leads to inside diffusers
            raise ValueError(f"{folder / CONFIG} describes no {name} ({_line(error)}). {_REMEDY}") from None

    return fill_network(make, files.paths), files


def read_scheduler(folder: Path) -> Any:
    """Return the scheduler of a folder.

    Raises:
        OSError: If its configuration is missing.
        ValueError: If it cannot be read or is of another class.
    """
    refuse_code(folder)
    path = folder / SCHEDULER
    settings = _settings(path)
    name = settings.get("_class_name")
    if not isinstance(name, str) or name not in SCHEDULERS:
        raise ValueError(f"{path}: {unsupported_scheduler(name)}.")
    steps = settings.get("num_train_timesteps", 1)
    if not isinstance(steps, int) or not 1 <= steps <= _MOST_STEPS:
        raise ValueError(f"{path}: num_train_timesteps is {steps!r}, but must be from 1 to {_MOST_STEPS}. {_REMEDY}")
    kind = _class(name)
    known = {key: value for key, value in settings.items() if key in inspect.signature(kind.__init__).parameters}
    if "predict_epsilon" in settings and "prediction_type" not in settings:  # its name until diffusers 0.9
        known["prediction_type"] = "epsilon" if settings["predict_epsilon"] else "sample"
    try:
        return kind(**known)
    except Exception as error:
        raise ValueError(f"{path} describes no {name} ({_line(error)}). {_REMEDY}") from None


def refuse_code(folder: Path) -> None:
    """Refuse a model's folder that holds Python code, or whose settings name some for a loader to run.

    Raises:
        ValueError: If it does; the file is named.
    """
    for path in sorted(folder.iterdir() if folder.is_dir() else ()):
        named = path.suffix == ".json" and path.is_file() and b'"auto_map"' in path.read_bytes()
        if path.suffix == ".py" or named:
            what = "names code in auto_map" if named else "is code"
            raise ValueError(f"{path} {what}, and a prior's folder may hold weights and settings only. Remove it.")


def _settings(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing. {_REMEDY}")
    return read_json(path, _REMEDY)


def check_class(folder: Path, supported: tuple[str, ...]) -> Mapping[str, Any]:
    """Return the configuration of a network's folder, after a check that it is of a class that is supported.

    Raises:
        OSError: If it is missing.
        ValueError: If it cannot be read, is of another class, or the folder holds code.
    """
    refuse_code(folder)
    path = folder / CONFIG
    settings = _settings(path)
    name = settings.get("_class_name")
    if name not in supported:
        cure = CONDITIONED if name == "UNet2DConditionModel" else "Use scorereg.wrap."
        raise ValueError(f"{path} is of a {name}, but supported are {', '.join(supported)}. {cure}")
    return settings


def _class(name: str) -> Any:
    import diffusers

    return getattr(diffusers, name)


def _known(kind: Any, settings: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The settings that a class has; a warning names others, as they may change what the network computes."""
    names = inspect.signature(kind.__init__).parameters
    others = sorted(key for key in settings if key not in names and not key.startswith("_") and key not in _AVERAGING)
    if others:
        shown = ", ".join(others[:5]) + (", ..." if len(others) > 5 else "")
        warnings.warn(
            f"{path}: {shown} means nothing to this diffusers' {kind.__name__} and is left out.", stacklevel=2
        )
    return {key: value for key, value in settings.items() if key in names}


def _check_sizes(settings: Mapping[str, Any], count: int, path: Path) -> None:
    """Refuse a description of more layers than there are weights, before they are made."""
    levels, layers = settings.get("block_out_channels", ()), settings.get("layers_per_block", 1)
    each = max(layers, default=1) if isinstance(layers, list) else layers
    if not isinstance(levels, list | tuple) or not isinstance(each, int) or len(levels) * max(each, 1) > max(count, 16):
        raise ValueError(f"{path} describes a network of more layers than there are weights ({count}). {_REMEDY}")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
