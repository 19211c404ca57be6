"""Train an RGB-D prior on folders of photos with depth: `train_prior` is the whole of it.

The loss is that of EDM (Karras et al. 2022, table 1 and section 5), with pixels of unknown depth left out:

    L = mean over valid of (sigma^2 + s^2) / (sigma s)^2 (D(x + sigma n, sigma) - x)^2,   ln sigma ~ N(mean, std^2)
"""

import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scorereg.priors.network import SIGMA_DATA, build_network
from scorereg.training.augment import CHANNELS, depth_scale, jitter, to_prior_space
from scorereg.training.checkpoint import State, load_state, new_state, save_state
from scorereg.training.data import Crops, Pyramid
from scorereg.training.layouts import find_frames
from scorereg.training.log import Log, interrupts
from scorereg.training.report import write_report
from scorereg.training.sets import load_sets, split_scenes
from scorereg.training.settings import check_out, check_settings, has_bf16, make_card

__all__ = ["train_prior"]


def train_prior(
    data: list[Path],
    out: Path,
    *,
    steps: int,
    patch: int = 24,
    channels: str = "rgbd",
    size: str = "small",
    batch: int = 48,
    seed: int = 0,
    save_every: int = 500,
    resume: bool = False,
    name: str = "prior",
    focal: tuple[float, float] = (80.0, 180.0),
    d_min: float = 0.5,
    depth_range: tuple[float, float] = (0.6, 1.6),
    sigma: tuple[float, float] = (0.005, 5.0),
    sigma_mean: float = -2.0,
    sigma_std: float = 1.3,
    lr: float = 4e-4,
    weight_decay: float = 1e-3,
    ema: float = 0.999,
    bf16: bool | None = None,
    evaluate: list[Path] | None = None,
    licence: str = "",
    credits: tuple[str, ...] = (),
    device: str | None = None,
    show: bool = False,
) -> Path | None:
    """Train a prior; write checkpoints, metrics, and at the end the prior's folder with pictures of what it can.

    Args:
        data: Folders with RGB-D frames, or folders of such folders.
        out: The run's folder: `checkpoint.pt`, `metrics.jsonl`, and at the end `prior/`, `samples.png`,
            `denoising.json` and, with matplotlib, `denoising.png`.
        steps: Optimiser steps in all, a resumed run's earlier ones included.
        patch: Side of a patch, in pixels.
        channels: `"rgbd"`, `"rgb"` or `"d"`.
        size: A key of `NETWORK_SIZES`.
        batch: Patches a step.
        seed: Seeds weights, patches and noise.
        save_every: Steps between checkpoints.
        resume: Go on with the run in `out`; without it, a folder that holds a run is refused.
        name: The prior's name on its card.
        focal: Shortest and longest focal length that frames are reduced to, in pixels.
        d_min: Depth at which disparity is 1, in metres.
        depth_range: Smallest and largest factor on a patch's depth.
        sigma: Smallest and largest noise level, in prior-space units.
        sigma_mean: Mean of ln sigma in training.
        sigma_std: Standard deviation of ln sigma in training.
        lr: Peak learning rate; it rises linearly at first and falls to 0 along a cosine.
        weight_decay: AdamW's.
        ema: Decay of the averaged weights, reached gradually.
        bf16: Run the network in bfloat16; None does so where the processor has instructions for it.
        evaluate: Further RGB-D folders, to measure the denoising error on; not trained on.
        licence: Licence of the weights, for the card.
        credits: Names of those whose work the data is, for the card.
        device: Where to train; None takes CUDA where it is there.
        show: Draw a progress line on standard error.

    Returns:
        The folder of the trained prior; None if the run was interrupted, its state then being saved.

    Raises:
        ValueError: If an argument, the data, or the run to be resumed is not usable.
        OSError: If a file cannot be read or `out` cannot be written.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    bf16 = has_bf16(device) if bf16 is None else bf16
    settings: dict[str, Any] = {
        "steps": steps, "patch": patch, "channels": channels, "size": size, "batch": batch, "seed": seed,
        "save_every": save_every, "focal": list(focal), "d_min": d_min, "depth_range": list(depth_range),
        "sigma": list(sigma), "sigma_mean": sigma_mean, "sigma_std": sigma_std, "lr": lr,
        "weight_decay": weight_decay, "ema": ema, "bf16": bf16,
    }  # fmt: skip
    check_settings(settings)
    with torch.device("meta"):  # only to see that it can be built
        build_network(size, patch=patch, channels=len(CHANNELS[channels]))
    check_out(out, resume=resume)
    train, held, held_names = split_scenes(find_frames(data))
    card = make_card(name, settings, train, held_names, licence=licence, credits=credits)
    state = load_state(card, settings, out, device=device) if resume else new_state(card, settings, device=device)
    pyramids = load_sets(train, held, evaluate or [], settings)
    with Log(out, state, show=show) as log, interrupts() as interrupted:
        while state.step < steps:
            loss = train_step(state, pyramids["train"])
            log.step(state, loss)
            if interrupted.is_set() or state.step % save_every == 0 or state.step == steps:
                save_state(state, out)
            if interrupted.is_set():
                return None
    return write_report(state, pyramids, out)


def train_step(state: State, pyramid: Pyramid) -> float:
    """Take one step; return the loss."""
    began = time.perf_counter()
    settings, prior = state.settings, state.prior.train()
    device = next(prior.parameters()).device
    x, weight = (part.to(device) for part in draw_batch(pyramid, settings, state.generator))
    noise = torch.randn(x.shape, generator=state.generator).to(device)
    level = settings["sigma_mean"] + settings["sigma_std"] * torch.randn(len(x), generator=state.generator)
    sigma = level.exp().clamp(*settings["sigma"]).to(device)
    scale = sigma[:, None, None, None]
    denoised = prior(x + scale * noise, sigma)
    error = (scale.square() + SIGMA_DATA**2) / (scale * SIGMA_DATA).square() * (denoised - x).square()
    loss = (error * weight).sum() / weight.sum()
    if not torch.isfinite(loss):
        raise ValueError(
            f"the loss is {loss.item()} at step {state.step}. Go on from the last checkpoint with a lower --lr."
        )
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(state.step, settings)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(prior.parameters(), 1.0)
    state.optimizer.step()
    state.step += 1
    _average(state)
    state.seconds += time.perf_counter() - began
    return loss.item()


def draw_batch(pyramid: Pyramid, settings: dict[str, Any], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return augmented patches in prior space, and weights that are 0 where depth is unknown."""
    low, high = settings["depth_range"]
    crops = pyramid.crop(settings["batch"], settings["patch"], generator)
    crops = depth_scale(crops, generator, low=low, high=high)
    return to_prior_space(Crops(jitter(crops.color, generator), crops.disparity, crops.valid), settings["channels"])


def learning_rate(step: int, settings: dict[str, Any]) -> float:
    """Learning rate of a step: a linear rise over the first 500 steps (or a tenth), then a cosine to 0."""
    warm = min(500, settings["steps"] // 10 + 1)
    fall = (1 + math.cos(math.pi * min(step / settings["steps"], 1))) / 2
    return settings["lr"] * min((step + 1) / warm, 1) * fall


@torch.no_grad()
def _average(state: State) -> None:
    decay = min(state.settings["ema"], (1 + state.step) / (10 + state.step))
    values = state.prior.network.state_dict()
    names = list(state.average)
    torch._foreach_lerp_([state.average[n] for n in names], [values[n] for n in names], 1 - decay)
