"""Train an RGB-D prior on folders of photos with depth: `train_prior` is the whole of it.

The loss is that of EDM (Karras et al. 2022, table 1 and section 5), with pixels of unknown depth left out:

    L = mean over valid of (sigma^2 + s^2) / (sigma s)^2 (D(x + sigma n, sigma) - x)^2,   ln sigma ~ N(mean, std^2)
"""

import json
import math
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scorereg.priors.card import PriorCard
from scorereg.priors.network import NETWORK_SIZES, SIGMA_DATA, build_network
from scorereg.training.augment import CHANNELS, depth_scale, jitter, to_prior_space
from scorereg.training.checkpoint import CHECKPOINT_FILE, State, load_state, new_state, save_state
from scorereg.training.data import Crops, Pyramid, load_pyramid, split_scenes
from scorereg.training.layouts import Frame, find_frames
from scorereg.training.log import Log
from scorereg.training.report import write_report

__all__ = ["train_prior"]

LOG_EVERY = 25


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
    _check(settings)
    build_network(size, patch=patch, channels=len(CHANNELS[channels]))
    _check_out(out, resume=resume)
    frames = find_frames(data)
    train, held, held_names = split_scenes(frames)
    card = _card(name, settings, train, held_names, licence=licence, credits=credits)
    state = load_state(card, settings, out, device=device) if resume else new_state(card, settings, device=device)
    pyramids = {key: _load(part, settings) for key, part in (("train", train), ("held-out", held))}
    for path in evaluate or []:
        pyramids[path.resolve().name] = _load(find_frames([path]), settings)
    with Log(out, state, show=show) as log, _interrupts() as interrupted:
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


def has_bf16(device: str) -> bool:
    """Say whether the processor has instructions for bfloat16, so that it is faster than float32."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported()
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


@torch.no_grad()
def _average(state: State) -> None:
    decay = min(state.settings["ema"], (1 + state.step) / (10 + state.step))
    values = state.prior.network.state_dict()
    names = list(state.average)
    torch._foreach_lerp_([state.average[n] for n in names], [values[n] for n in names], 1 - decay)


def _load(frames: list[Frame], settings: dict[str, Any]) -> Pyramid:
    low, high = settings["focal"]
    return load_pyramid(frames, size=settings["patch"], focal=(low, high), d_min=settings["d_min"])


def _check(settings: dict[str, Any]) -> None:
    for name in ("steps", "batch", "patch", "save_every"):
        if settings[name] < 1:
            raise ValueError(
                f"{name} must be at least 1, but is {settings[name]}. Give --{name.replace('_', '-')} a number > 0."
            )
    for name in ("focal", "depth_range", "sigma"):
        low, high = settings[name]
        if not 0 < low <= high < math.inf:
            raise ValueError(f"{name} must be two numbers, 0 < low <= high, but is {low:g}, {high:g}.")
    for name in ("d_min", "lr", "sigma_std"):
        if not 0 < settings[name] < math.inf:
            raise ValueError(f"{name} must be > 0, but is {settings[name]:g}.")
    if settings["channels"] not in CHANNELS:
        raise ValueError(f"channels must be one of {', '.join(CHANNELS)}, but is {settings['channels']!r}.")


def _check_out(out: Path, *, resume: bool) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise OSError(f"{out} cannot be written ({error.strerror or error}). Choose another --out.") from None
    there = (out / CHECKPOINT_FILE).exists()
    if there and not resume:
        raise ValueError(
            f"{out / CHECKPOINT_FILE} holds a run already. Go on with it by --resume, or choose another --out."
        )
    if resume and not there:
        raise FileNotFoundError(
            f"{out / CHECKPOINT_FILE} is not there, so there is nothing to resume. Start without --resume."
        )


def _card(
    name: str,
    settings: dict[str, Any],
    train: list[Frame],
    held: tuple[str, ...],
    *,
    licence: str,
    credits: tuple[str, ...],
) -> PriorCard:
    scenes = {frame.scene for frame in train}
    folders = ", ".join(sorted({scene.split("/")[0] for scene in scenes}))
    depth = "d" in settings["channels"]
    return PriorCard(
        name=name,
        channels=CHANNELS[settings["channels"]],
        size=(settings["patch"], settings["patch"]),
        sigma_min=settings["sigma"][0],
        sigma_max=settings["sigma"][1],
        depth="planar" if depth else None,
        d_min=settings["d_min"] if depth else None,
        focal=tuple(settings["focal"]),
        network={
            "kind": "diffusers UNet2DModel, EDM preconditioning",
            "size": settings["size"],
            "patchify": NETWORK_SIZES[settings["size"]]["patchify"],
            "sigma_data": SIGMA_DATA,
        },
        data=f"{len(train)} RGB-D frames of {len(scenes)} scenes ({folders})",
        licence=licence,
        credits=credits,
        training=json.loads(json.dumps(settings)),
        held_out=held,
    )


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """An event that Ctrl-C and a polite kill set, so that the step in hand is finished and saved first."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    kinds = (signal.SIGINT, signal.SIGTERM)
    old = [signal.signal(kind, lambda *_: event.set()) for kind in kinds]
    try:
        yield event
    finally:
        for kind, handler in zip(kinds, old, strict=True):
            signal.signal(kind, handler)
