"""denoising-diffusion-pytorch as the rival of `benchmarks.learning`.

Its `GaussianDiffusion` of a `Unet`, `objective="pred_v"`, is trained on the same patches by Adam with a rate of 1e-3
that falls to 0 as a cosine, after 30 steps of warm-up, with gradients clipped at 1 and weights averaged with a decay of
min(0.98, (1 + n) / (10 + n)): better for it in a short time than its own Trainer's constant 1e-4 and decay of 0.995.

It comes with `pip install denoising-diffusion-pytorch`. Its modules import torchvision and ema-pytorch, which only its
Trainer uses; where these are missing (torchvision has no build for every torch) empty modules stand in for them.
"""

import importlib
import importlib.util
import math
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from scorereg import load_prior
from scorereg.data.source import Source

__all__ = ["rival"]

RATE, WARM_UP = 1e-3, 30


def rival(
    dim: int, steps: int, source: Source, batch: int
) -> tuple[Iterator[None], Callable[[], tuple[Callable[[Tensor, Tensor], Tensor], int]]]:
    """Its loop of a run of so many steps, and what returns the denoiser with the number of its weights."""
    library, about = _library(), source.about
    torch.manual_seed(0)
    network = library.Unet(dim=dim, dim_mults=(1, 2, 4), channels=len(about.channels), flash_attn=False)
    diffusion = library.GaussianDiffusion(network, image_size=about.size[0], timesteps=1000, objective="pred_v")
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE, betas=(0.9, 0.99))
    average = AveragedModel(diffusion, avg_fn=_averaged)

    def loop() -> Iterator[None]:
        for step in range(steps):
            warm = min((step + 1) / WARM_UP, 1.0)
            optimizer.param_groups[0]["lr"] = RATE * warm * (1 + math.cos(math.pi * step / steps)) / 2
            x, _ = source.batch(batch, seed=0, step=step, slot=0)
            loss = diffusion((x + 1) / 2)  # it takes images in [0, 1]
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            average.update_parameters(diffusion)
            yield

    def result() -> tuple[Callable[[Tensor, Tensor], Tensor], int]:
        prior = load_prior(average.module.eval())
        return prior.denoise, sum(value.numel() for value in network.parameters())

    return loop(), result


def _averaged(before: Tensor, now: Tensor, count: Tensor | int) -> Tensor:
    decay = min(0.98, (1 + float(count)) / (10 + float(count)))
    return decay * before + (1 - decay) * now


def _library() -> Any:
    missing = {"torchvision": ("transforms", "utils"), "ema_pytorch": ("EMA",), "pytorch_fid": ()}
    for name, parts in missing.items():
        if name not in sys.modules and importlib.util.find_spec(name) is None:
            sys.modules[name] = _empty(name, parts)
    try:
        return importlib.import_module("denoising_diffusion_pytorch")
    except ImportError as error:
        raise SystemExit(
            f"the rival needs {error.name}. Install it: pip install --no-deps denoising-diffusion-pytorch ({error})"
        ) from None


def _empty(name: str, parts: tuple[str, ...]) -> types.ModuleType:
    module: Any = types.ModuleType(name)
    module.__spec__ = importlib.util.spec_from_loader(name, None)
    module.__path__ = []
    for part in parts:
        inner = types.ModuleType(f"{name}.{part}")
        setattr(module, part, inner)
        sys.modules[inner.__name__] = inner
    return module
