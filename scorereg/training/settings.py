"""Arguments of a run: what they may be, what a resumed run may change, and where a run may write."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import torch

from scorereg.priors.networks.build import NETWORK_SIZES

__all__ = ["RECIPES", "Settings", "differences", "has_bf16"]


@dataclass(frozen=True)
class Settings:
    """What a training run is. Two runs with the same settings and data end with the same weights on a CPU.

    Args:
        recipe: `"edm"` (Karras et al. 2022), or `"diffusionerf"`: noise predicted under cosine betas, with an L1 loss.
        steps: Optimiser steps in all, a resumed run's earlier ones included.
        size: The network: tiny, small or base.
        batch: Patches a step, over all processes.
        accumulate: Into how many parts each process divides its share of a batch, to save memory.
        patch: Side of a patch that is cut out of frames, in pixels; arrays come in a size of their own.
        channels: What is cut out of frames: `"rgbd"`, `"rgb"`, `"d"`, or names like `"rgb,nx,ny,nz"`; arrays name
            theirs.
        known: Channels that are given clean in three of four patches, by name (`"rgb"`): the prior can then be told
            what is known. None, if empty.
        init: The prior whose weights the run begins with, as `load_prior` takes it; random weights, if empty.
        seed: Seeds weights, patches and noise.
        lr: Peak learning rate.
        schedule: `"cosine"`: a linear rise, then a cosine to 0; `"constant"`.
        weight_decay: AdamW's; 0 is Adam.
        clip: Largest norm of the gradient; None leaves it as it is.
        ema: Decay of the averaged weights, reached gradually.
        sigma: Smallest and largest noise level of `"edm"`, in prior-space units.
        sigma_mean: Mean of ln sigma in training.
        sigma_std: Standard deviation of ln sigma in training.
        precision: `"fp32"`, `"bf16"` or `"fp16"` inside the network; `"auto"` is bf16 where the processor has it.
        compile: Compile the network by `torch.compile`.
        checkpointing: Compute activations again on the way back instead of keeping them, and of 8 patches at a time:
            the paper's network then takes less than half the memory.
        workers: Processes that prepare batches; None takes none on a CPU, and up to 8 beside a GPU.
        save_every: Steps between checkpoints, with a validation at each.
        keep: Checkpoints that are kept, beside the best.
        focal: Shortest and longest focal length that frames are reduced to, in pixels.
        d_min: Depth at which disparity is 1, in metres.
        depth_range: Smallest and largest factor on a patch's depth.
        grain: Largest standard deviation of noise that is part of a patch's colours, in prior-space units; each patch
            draws its own from 0 on. Cameras leave such in photos, and renderers do not.
        sharpen: Largest amount by which a patch's colours are sharpened; each draws its own, from a little softer on.
        depth_factor: Multiplies the depth unit of folders of frames to train on, where that is wrong.
    """

    recipe: str = "edm"
    steps: int = 20_000
    size: str = "small"
    batch: int = 48
    accumulate: int = 1
    patch: int = 24
    channels: str = "rgbd"
    known: str = ""
    init: str = ""
    seed: int = 0
    lr: float = 4e-4
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

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON knows them, pairs as lists."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}


# How a run is computed, how long it goes on and what it leaves: a resumed run may set these anew.
_FREE = ("steps", "save_every", "keep", "accumulate", "precision", "compile", "checkpointing", "workers")
_CHOICES = {
    "recipe": ("edm", "diffusionerf"),
    "size": tuple(NETWORK_SIZES),
    "schedule": ("cosine", "constant"),
    "precision": ("auto", "fp32", "bf16", "fp16"),
}
_SHARPEST = 4.0  # beyond, edges are little else than halos
_LARGEST_FACTOR = 2.0  # nearer than d_min / 2 depth is not kept when frames are read


def differences(saved: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    """Return what makes `asked` another run than `saved`, one line of text for each setting, in order of name."""
    saved = Settings().to_json() | saved  # a run of before something was a setting has its default
    names = sorted((set(saved) | set(asked)) - set(_FREE))
    return [f"{n} was {saved.get(n)!r}, now {asked.get(n)!r}" for n in names if saved.get(n) != asked.get(n)]


def _check(settings: Settings) -> None:
    values = dataclasses.asdict(settings)
    for name, choices in _CHOICES.items():
        if values[name] not in choices:
            raise ValueError(f"{name} must be one of {', '.join(choices)}, but is {values[name]!r}.")
    for name in ("steps", "batch", "accumulate", "patch", "save_every", "keep"):
        if values[name] < 1:
            raise ValueError(
                f"{name} must be at least 1, but is {values[name]}. Give --{name.replace('_', '-')} a number > 0."
            )
    for name in ("seed", "workers"):
        if values[name] is not None and values[name] < 0:
            raise ValueError(f"{name} must be at least 0, but is {values[name]}.")
    for name in ("focal", "depth_range", "sigma"):
        low, high = values[name]
        if not 0 < low <= high < math.inf:
            raise ValueError(f"{name} must be two numbers, 0 < low <= high, but is {low:g}, {high:g}.")
    for name in ("d_min", "lr", "sigma_std", "clip", "depth_factor"):
        if values[name] is not None and not 0 < values[name] < math.inf:
            raise ValueError(f"{name} must be > 0, but is {values[name]:g}.")
    if not 0 <= settings.ema < 1:
        raise ValueError(f"ema must be at least 0 and below 1, but is {settings.ema:g}.")
    if not 0 <= settings.grain < 1:
        raise ValueError(f"grain must be at least 0 and below 1, but is {settings.grain:g}.")
    if not 0 <= settings.sharpen <= _SHARPEST:
        raise ValueError(f"sharpen must be from 0 to {_SHARPEST:g}, but is {settings.sharpen:g}.")
    if settings.depth_range[1] > _LARGEST_FACTOR:
        raise ValueError(
            f"depth_range may not exceed {_LARGEST_FACTOR:g}, but is {settings.depth_range[1]:g}: nearer than "
            f"d_min / {_LARGEST_FACTOR:g} depth is not kept. Give a smaller upper factor."
        )
    if settings.batch % settings.accumulate:
        raise ValueError(
            f"a batch of {settings.batch} is not divided evenly into {settings.accumulate} parts. "
            "Choose another --batch or --accumulate."
        )


def has_bf16(device: str | torch.device) -> bool:
    """Say whether the processor has instructions for bfloat16, so that it is faster than float32."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported()
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


RECIPES: dict[str, Settings] = {
    "edm": Settings(),
    # Wynn and Turmukhambetov 2023 (arXiv 2302.12231): 48-pixel patches, a week on one GPU.
    "diffusionerf": Settings(
        recipe="diffusionerf",
        steps=650_000,
        size="base",
        batch=32,
        patch=48,
        lr=1e-4,
        schedule="constant",
        weight_decay=0.0,
        clip=None,
        ema=0.995,
        focal=(175.0, 175.0),
        d_min=0.2,
        depth_range=(1.0, 1.0),
        save_every=5000,
    ),
}
