"""Parts of a diffusers folder, each with its configuration: networks with their weights, and schedulers.

Only JSON and weights are read, and classes come from the diffusers library alone. Nothing has memory before the
weights' header was compared with the configuration.
"""

import functools
import inspect
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from scorereg._io import read_json
from scorereg.priors.adapters.foreign_models import cure_of_model
from scorereg.priors.adapters.schedulers import DISTILLED, SCHEDULERS, TABLES, unsupported_scheduler
from scorereg.priors.weights import WeightFiles, describing, fill_network, find_weights, header_shapes, known_settings

__all__ = ["CONFIG", "SCHEDULER", "check_class", "read_model", "read_scheduler", "refuse_code"]

CONFIG, SCHEDULER = "config.json", "scheduler_config.json"
_REMEDY = "Copy or download the whole folder of the pipeline or model again."
_AVERAGING = {  # settings of the moving average that a training script keeps beside those of the network
    "decay", "inv_gamma", "min_decay", "optimization_step", "power", "update_after_step", "use_ema_warmup",
    "collected_params",
}  # fmt: skip
_MOST_STEPS = 100_000
_NOISE = {"rescale_betas_zero_snr", "use_flow_sigmas", "invert_sigmas", "sigma_data"}  # of some schedulers' noise
_BETAS = ("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "laplace", "exp")
_CODE = (".py", ".pyc", ".pyd", ".so", ".dll")


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
    known = known_settings(kind, settings, folder / CONFIG, ignored=_AVERAGING)
    if name == "VQModel" and "scaling_factor" not in settings:  # older than that setting, as are latents without scale
        known["scaling_factor"] = 1.0
        warnings.warn(
            f"{folder / CONFIG} names no scaling_factor: the latents are taken without one, as in latent-diffusion's "
            "VQ models. If they were scaled in training, write it into the file.",
            stacklevel=2,
        )
    _check_sizes(known, sum(len(header_shapes(path)) for path in files.paths), folder / CONFIG)

    def make() -> Any:
        with describing(folder / CONFIG, name, _REMEDY):
            return kind(**known)

    def trial(network: Any) -> None:
        with describing(folder / CONFIG, name, _REMEDY):
            _run_once(network)

    return fill_network(make, files.paths, trial), files


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
    known = known_settings(kind, settings, path, warned=False)  # those of other schedulers say how to sample
    _warn_of_noise(kind, settings, path)
    _check_schedule(settings, path)
    if "predict_epsilon" in settings and "prediction_type" not in settings:  # its name until diffusers 0.9
        known["prediction_type"] = "epsilon" if settings["predict_epsilon"] else "sample"
    if name in TABLES and (missing := _missing(settings)):
        warnings.warn(f"{path} names no {', '.join(missing)}: the defaults of diffusers are taken.", stacklevel=2)
    with describing(path, name, _REMEDY):
        return kind(**known)


@functools.cache
def _settings_of_all() -> frozenset[str]:
    """Every setting of a scheduler that is known here, most of which say how to sample."""
    kinds = (_class(name) for name in (*SCHEDULERS, *DISTILLED) if _exists(name))
    return frozenset(name for kind in kinds for name in inspect.signature(kind.__init__).parameters)


def _exists(name: str) -> bool:
    try:
        return hasattr(_class(name), "__init__")
    except (AttributeError, ImportError):  # another version of diffusers, or a class that needs a further package
        return False


def _warn_of_noise(kind: Any, settings: Mapping[str, Any], path: Path) -> None:
    """Warn of settings that a scheduler leaves out and that may change its noise."""
    others = [n for n in settings if n not in inspect.signature(kind.__init__).parameters and not n.startswith("_")]
    odd = [n for n in others if n not in _settings_of_all() and n not in ("predict_epsilon", "tensor_format")]
    odd += [n for n in others if n in _NOISE and settings[n] not in (None, False)]
    if odd:
        shown = ", ".join(f"{name}={settings[name]!r:.20}" for name in sorted(odd)[:5])
        warnings.warn(
            f"{path}: {shown} means nothing to a {kind.__name__} and is left out, though it may change the noise.",
            stacklevel=3,
        )


def _check_schedule(settings: Mapping[str, Any], path: Path) -> None:
    """Refuse a name of a noise schedule that diffusers has not, with the name that is meant."""
    named = settings.get("beta_schedule")
    if named is None or named in _BETAS or settings.get("trained_betas"):
        return
    meant = "squaredcos_cap_v2, the cosine schedule" if "cos" in str(named).lower() else ", ".join(_BETAS[:4])
    raise ValueError(f"{path}: beta_schedule is {named!r:.40}, which diffusers does not have. Write {meant}.")


def refuse_code(folder: Path) -> None:
    """Refuse a model's folder that holds Python code, or whose settings name some for a loader to run.

    Raises:
        ValueError: If it does; the file is named.
    """
    for path in sorted(folder.iterdir() if folder.is_dir() else ()):
        named = path.suffix == ".json" and path.is_file() and _names_code(path)
        if path.suffix.lower() in _CODE or named:
            what = "names code in auto_map" if named else "is code"
            raise ValueError(f"{path} {what}, and a prior's folder may hold weights and settings only. Remove it.")


def _names_code(path: Path) -> bool:
    """Whether a JSON file has the key by which transformers import code, however its letters are written."""
    data = path.read_bytes()
    try:
        entries = json.loads(data)
    except (ValueError, RecursionError):  # refused where it is read
        return b"auto_map" in data
    return isinstance(entries, dict) and "auto_map" in entries


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
        named = settings.get("architectures") or settings.get("model_type")  # transformers' names of a class
        kind = str(name or (named[0] if isinstance(named, list) else named) or "")[:80]
        of = f"of a {kind}" if kind else "of no class that it names"
        raise ValueError(f"{path} is {of}, but supported are {', '.join(supported)}. {cure_of_model(kind)}")
    return settings


def _class(name: str) -> Any:
    import diffusers

    return getattr(diffusers, name)


def _missing(settings: Mapping[str, Any]) -> list[str]:
    """What makes a table of noise and is not in the settings."""
    if settings.get("trained_betas"):
        return []
    ends = [] if settings.get("beta_schedule") == "squaredcos_cap_v2" else ["beta_start", "beta_end"]
    return [name for name in ("num_train_timesteps", "beta_schedule", *ends) if name not in settings]


def _check_sizes(settings: Mapping[str, Any], count: int, path: Path) -> None:
    """Refuse a description of more layers than there are weights, before they are made."""
    levels, layers = settings.get("block_out_channels", ()), settings.get("layers_per_block", 1)
    each = max(layers, default=1) if isinstance(layers, list) else layers
    if not isinstance(levels, list | tuple) or not isinstance(each, int) or len(levels) * max(each, 1) > max(count, 16):
        raise ValueError(f"{path} describes a network of more layers than there are weights ({count}). {_REMEDY}")


def _run_once(network: Any) -> None:
    """Call a network of the meta device, which computes nothing, on a patch of the least size that it halves evenly."""
    config = network.config
    if config.get("class_embed_type") or config.get("num_class_embeds"):
        return  # it needs a class, and is refused later
    side = 2 ** (len(config.block_out_channels) + 2)
    x = torch.zeros(1, config.in_channels, *[side] * (1 if type(network).__name__ == "UNet1DModel" else 2))
    network.encode(x) if hasattr(network, "encode") else network(x, torch.zeros(1))
