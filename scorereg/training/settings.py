"""Settings of a training run, their checks, and which of them a resumed run may change."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import torch

from scorereg.data.channels import channel_names
from scorereg.data.patch_spec import PatchSpec
from scorereg.priors.networks.build import NETWORK_SIZES

__all__ = ["FRAME_SETTINGS", "RECIPES", "Settings", "differences", "has_bf16", "recipe_settings"]


@dataclass(frozen=True)
class Settings:
    """Settings of a training run. Two runs with the same settings and data end with the same weights on a CPU.

    Args:
        recipe: `"edm"` (Karras et al. 2022), or `"diffusionerf"`: noise predicted under cosine betas, with an L1 loss.
        steps: Optimizer steps in all, those before a resumption included.
        network_size: `"tiny"`, `"small"` or `"base"`; for images also `"folded"`, on blocks of 2 x 2 pixels.
        batch: Patches per step, over all processes.
        accumulate: Number of parts that each process divides its share of a batch into, to save memory.
        patch_size: Side of a patch that is cut out of frames, in pixels; arrays have a size of their own.
        channels: Channels of frames: `"rgbd"`, `"rgb"`, `"d"`, or names like `"rgb,nx,ny,nz"`; arrays name theirs.
        known: Channels that are given without noise in three of four patches, by name (`"rgb"`), so that the prior can
            be conditioned on them. None, if empty.
        linear: Start from the best linear denoiser of the data, whose spectrum is measured before the first step, and
            not from that of single pixels; `"edm"` only. A run with `init` has that prior's start.
        init: The prior that the weights are initialised from, as `load_prior` takes it; random weights, if empty.
        seed: Seed of weights, patches and noise.
        lr: Peak learning rate.
        schedule: `"cosine"`: a linear warm-up, then a cosine to 0; `"constant"`.
        weight_decay: Weight decay of AdamW; 0 makes it Adam.
        clip: Largest norm of the gradient; None for no clipping.
        ema: Largest decay of the moving average of the weights, in [0, 1).
        sigma: Smallest and largest noise level of `"edm"`, in prior-space units.
        sigma_mean: Mean of ln sigma in training.
        sigma_std: Standard deviation of ln sigma in training.
        precision: `"fp32"`, `"bf16"` or `"fp16"` inside the network; `"auto"` is bf16 where the processor has it.
        compile: Compile the network with `torch.compile`.
        checkpointing: Recompute activations in the backward pass, and of 8 patches at a time; the paper's network then
            takes less than half the memory.
        workers: Processes that prepare batches; None is 0 on a CPU, and up to 8 beside a GPU.
        save_every: Steps between checkpoints, with a validation at each.
        keep: Number of checkpoints to keep, beside the best.
        focal, d_min, depth_range, grain, sharpen, depth_factor: As for `PatchSpec`; for frames only.

    Raises:
        ValueError: If one of them is out of range.
    """

    recipe: str = "edm"
    steps: int = 20_000
    network_size: str = "small"
    batch: int = 48
    accumulate: int = 1
    patch_size: int = 24
    channels: str = "rgbd"
    known: str = ""
    linear: bool = True
    init: str = ""
    seed: int = 0
    lr: float = 1e-3
    schedule: str = "cosine"
    weight_decay: float = 1e-3
    clip: float | None = 1.0
    ema: float = 0.999
    sigma: tuple[float, float] = (0.005, 5.0)
    sigma_mean: float = -2.0
    sigma_std: float = 1.3
    precision: str = "auto"
    compile: bool = False
    checkpointing: bool = False
    workers: int | None = None
    save_every: int = 500
    keep: int = 3
    focal: tuple[float, float] = (80.0, 180.0)
    d_min: float = 0.5
    depth_range: tuple[float, float] = (0.6, 1.6)
    grain: float = 0.0
    sharpen: float = 0.0
    depth_factor: float = 1.0

    def __post_init__(self) -> None:
        _check(self)

    @property
    def patch_spec(self) -> PatchSpec:
        """The patches that are cut out of frames."""
        return PatchSpec(**{name: getattr(self, name) for name in _OF_PATCHES})

    @property
    def prediction(self) -> str:
        """What the network predicts: a name of `PARAMETRIZATIONS`."""
        return _PREDICTIONS[self.recipe]

    @property
    def known_channels(self) -> tuple[str, ...]:
        """Names of the channels of `known`."""
        return channel_names(self.known) if self.known else ()

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON values under the names they have on disk."""
        entries = {_ON_DISK.get(name, name): value for name, value in dataclasses.asdict(self).items()}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in entries.items()}

    @classmethod
    def from_json(cls, entries: dict[str, Any]) -> "Settings":
        """Read settings from what `to_json` returned, or from a card's `training`; other entries are ignored."""
        names = {_ON_DISK.get(field.name, field.name): field.name for field in dataclasses.fields(cls)}
        values: dict[str, Any] = {
            names[k]: tuple(v) if isinstance(v, list) else v for k, v in (_BEFORE | entries).items() if k in names
        }
        return cls(**values)


_ON_DISK = {"network_size": "size", "patch_size": "patch"}  # names in cards and checkpoints, where they differ
_BEFORE = {"linear": False}  # of runs that were written before the setting
_PREDICTIONS = {"edm": "edm", "diffusionerf": "epsilon"}  # by recipe
_OF_PATCHES = tuple(f.name for f in dataclasses.fields(PatchSpec) if f.name in Settings.__dataclass_fields__)
FRAME_SETTINGS = frozenset(_ON_DISK.get(name, name) for name in (*_OF_PATCHES, "known"))  # names on disk
# How a run is computed, how long it is and what it leaves: a resumed run may change these.
_FREE = ("steps", "save_every", "keep", "accumulate", "precision", "compile", "checkpointing", "workers")
_CHOICES = {
    "recipe": tuple(_PREDICTIONS),
    "network_size": tuple(NETWORK_SIZES),
    "schedule": ("cosine", "constant"),
    "precision": ("auto", "fp32", "bf16", "fp16"),
}


def differences(saved: dict[str, Any], given: dict[str, Any]) -> list[str]:
    """Return what makes `given` another run than `saved`: a line of text for each setting, in order of name.

    Args:
        saved: `Settings.to_json` of a checkpoint; settings that it lacks had their defaults, or none.
        given: `Settings.to_json` of the run that is to resume it.
    """
    saved = Settings().to_json() | _BEFORE | saved
    names = sorted((set(saved) | set(given)) - set(_FREE))
    return [f"{n} was {saved.get(n)!r}, now {given.get(n)!r}" for n in names if saved.get(n) != given.get(n)]


def _check(settings: Settings) -> None:
    values = dataclasses.asdict(settings)
    for name, choices in _CHOICES.items():
        if values[name] not in choices:
            raise ValueError(f"{name} must be one of {', '.join(choices)}, but is {values[name]!r}.")
    for name in ("steps", "batch", "accumulate", "save_every", "keep"):
        if values[name] < 1:
            raise ValueError(
                f"{name} must be at least 1, but is {values[name]}. Give --{name.replace('_', '-')} a number > 0."
            )
    for name in ("seed", "workers"):
        if values[name] is not None and values[name] < 0:
            raise ValueError(f"{name} must be at least 0, but is {values[name]}.")
    if not 0 < settings.sigma[0] <= settings.sigma[1] < math.inf:
        raise ValueError("sigma must be two numbers, 0 < low <= high, but is {:g}, {:g}.".format(*settings.sigma))
    for name in ("lr", "sigma_std", "clip"):
        if values[name] is not None and not 0 < values[name] < math.inf:
            raise ValueError(f"{name} must be > 0, but is {values[name]:g}.")
    if not 0 <= settings.ema < 1:
        raise ValueError(f"ema must be at least 0 and below 1, but is {settings.ema:g}.")
    _ = settings.patch_spec  # which checks itself
    if settings.batch % settings.accumulate:
        raise ValueError(
            f"a batch of {settings.batch} is not divided evenly into {settings.accumulate} parts. "
            "Choose another --batch or --accumulate."
        )


def has_bf16(device: str | torch.device) -> bool:
    """Return whether the processor has instructions for bfloat16, so that it is faster than float32."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported()
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


_PAPER = Settings(  # Wynn and Turmukhambetov 2023 (arXiv 2302.12231): 48-pixel patches, a week on one GPU
    recipe="diffusionerf", steps=650_000, network_size="base", batch=32, patch_size=48, lr=1e-4, schedule="constant",
    weight_decay=0.0, clip=None, ema=0.995, focal=(175.0, 175.0), d_min=0.2, depth_range=(1.0, 1.0), save_every=5000,
)  # fmt: skip
RECIPES: dict[str, Settings] = {"edm": Settings(), "diffusionerf": _PAPER}
_RATES = {"tiny": 2e-3, "base": 1e-4}  # of "edm" by network; at more than twice of it a run can stay at its start


def recipe_settings(recipe: str, **given: Any) -> Settings:
    """Return the settings of a recipe, with others in place of its own.

    Args:
        recipe: A name of `RECIPES`.
        **given: Settings by name; without `lr` the one that suits the network.

    Raises:
        ValueError: If there is no such recipe, or a setting is out of range.
    """
    if recipe not in RECIPES:
        raise ValueError(f"no recipe is called {recipe!r}; choose one of {', '.join(RECIPES)}.")
    own = RECIPES[recipe]
    lr = _RATES.get(given.get("network_size", own.network_size), own.lr) if recipe == "edm" else own.lr
    return dataclasses.replace(own, **{"lr": lr, **given})
