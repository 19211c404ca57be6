"""Training throughput against a plain PyTorch loop, what the loader delivers, and the memory of the paper's network.

    python -m benchmarks.train DATA [--json]

The plain loop is written as the Trainer of denoising-diffusion-pytorch is: a dataset that opens a photo and its depth
map for each patch, a loader in the same process, a contiguous network, Adam as torch makes it without arguments, and an
average of the weights, parameter by parameter, every tenth step. Network, batch, loss and precision are those of ours.
Blocks of a few steps of each take turns, in an order that rotates, so that a machine that is busy elsewhere slows them
alike; a ratio is the median over the turns. Time is the processor's, of all threads of the process, over their number:
what the clock on the wall would say of a machine that does nothing else. The targets are 1.5 for the throughput and 5
for the loader.

Memory is counted on torch's meta device, where nothing is computed: the most bytes that tensors hold at once in a step,
with the weights, their gradients, Adam's moments and the average.
"""

import dataclasses
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.memory import most_bytes
from scorereg.priors.architectures import build_network
from scorereg.training.checkpoint import new_state
from scorereg.training.frame import Frame
from scorereg.training.layouts import find_frames
from scorereg.training.loader import Draws, Share, batches
from scorereg.training.losses import HALVES, EdmLoss, make_card
from scorereg.training.settings import Settings
from scorereg.training.source import Source, open_source
from scorereg.training.step import train_step


class PlainPatches(Dataset[Tensor]):
    """A patch of each frame, cut at random out of files that are opened for it."""

    def __init__(self, frames: list[Frame], settings: Settings) -> None:
        self.frames, self.settings = frames, settings

    def __len__(self) -> int:
        return 100_000  # each frame again and again

    def __getitem__(self, index: int) -> Tensor:
        frame, side = self.frames[index % len(self.frames)], self.settings.patch
        assert frame.color is not None
        assert frame.depth is not None
        assert frame.focal is not None
        shrink = max(min(frame.focal) / self.settings.focal[1], 1.0)
        with Image.open(frame.color) as image:
            small = (round(image.width / shrink), round(image.height / shrink))
            color = np.asarray(image.convert("RGB").resize(small, Image.Resampling.BILINEAR), np.float32) / 255
        with Image.open(frame.depth) as image:
            raw = Image.fromarray(np.asarray(image, np.float32) * np.float32(frame.unit))
            depth = np.asarray(raw.resize(small, Image.Resampling.NEAREST))
        top, left = (np.random.randint(n - side + 1) for n in depth.shape)  # noqa: NPY002  # as such loops have it
        cut = (slice(top, top + side), slice(left, left + side))
        disparity = self.settings.d_min / np.maximum(depth[cut], self.settings.d_min)
        patch = np.concatenate([color[cut], disparity[..., None]], -1)
        if np.random.rand() < 0.5:  # noqa: NPY002
            patch = patch[:, ::-1].copy()
        return torch.from_numpy(patch).permute(2, 0, 1) * 2 - 1


def plain_loop(data: list[Path], source: Source, settings: Settings, precision: str) -> Iterator[None]:
    """Train as most would; each `next` is a step."""
    frames = find_frames(data)
    loss = EdmLoss(
        build_network(settings.size, patch=settings.patch, channels=4).to(memory_format=torch.contiguous_format),  # pyright: ignore[reportCallIssue]
        make_card("plain", settings, source.about),
        HALVES[precision],
    )
    average = [value.detach().clone() for value in loss.network.parameters()]
    optimizer = torch.optim.Adam(loss.network.parameters(), lr=settings.lr, betas=(0.9, 0.99))
    loader = DataLoader(PlainPatches(frames, settings), batch_size=settings.batch, shuffle=True, drop_last=True)
    step = 0
    while True:
        for x in loader:
            level = torch.exp(settings.sigma_mean + settings.sigma_std * torch.randn(len(x))).clamp(*settings.sigma)
            value = loss(x, torch.ones_like(x), torch.randn_like(x), level)
            value.backward()
            value.item()
            nn.utils.clip_grad_norm_(loss.network.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            if step % 10 == 0:
                with torch.no_grad():
                    for held, now in zip(average, loss.network.parameters(), strict=True):
                        held.lerp_(now, 1 - settings.ema)
            step += 1
            yield


def our_loop(source: Source, settings: Settings, precision: str) -> Iterator[None]:
    """Train as `train_prior` does; each `next` is a step."""
    from accelerate import Accelerator

    state = new_state(make_card("ours", settings, source.about), settings, precision=precision)
    accelerator = Accelerator(cpu=True)
    if settings.compile:
        state.loss.network.compile()
    draws = Draws(source, settings, Share.of(settings))
    for parts in batches(draws, 0, device=torch.device("cpu"), workers=settings.workers or 0):
        train_step(state, state.loss, parts, accelerator)
        yield


def network_alone(source: Source, settings: Settings, precision: str) -> Iterator[None]:
    """What the network eats: the same step on a batch that is there already."""
    from accelerate import Accelerator

    state = new_state(make_card("ours", settings, source.about), settings, precision=precision)
    x = torch.randn(settings.batch, 4, settings.patch, settings.patch)
    part = (x, torch.ones_like(x), torch.randn_like(x), torch.full((len(x),), 0.1))
    accelerator = Accelerator(cpu=True)
    while True:
        train_step(state, state.loss, [part], accelerator)
        yield


def loader_alone(source: Source, settings: Settings) -> Iterator[None]:
    """Batches that nobody eats."""
    draws = Draws(source, settings, Share.of(settings))
    for _ in batches(draws, 0, device=torch.device("cpu"), workers=settings.workers or 0):
        yield


def rates(loops: dict[str, Iterator[None]], *, turns: int, steps: int, batch: int) -> dict[str, list[float]]:
    """Return images per second of processor time of each loop, turn by turn; all take turns."""
    found: dict[str, list[float]] = {name: [] for name in loops}
    names = list(loops)
    for turn in range(-1, turns):  # the first only warms up
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            began = time.process_time()
            for _ in range(steps):
                next(loops[name])
            if turn >= 0:
                found[name].append(torch.get_num_threads() * steps * batch / (time.process_time() - began))
    return found


def ratio(found: dict[str, list[float]], ours: str, theirs: str) -> float:
    """Median over the turns."""
    return round(statistics.median(a / b for a, b in zip(found[ours], found[theirs], strict=True)), 3)


def memory(batch: int = 32, patch: int = 48) -> dict[str, Any]:
    """Count what training the paper's network holds at once, in megabytes."""

    def count(parts: int, checkpointing: bool) -> dict[str, float]:
        with torch.device("meta"):
            network: Any = build_network("base", patch=patch, channels=4)
        if checkpointing:
            network.enable_gradient_checkpointing()
        x, level = (torch.zeros(batch // parts, *shape, device="meta") for shape in ((4, patch, patch), ()))
        run: Callable[[], None] = lambda: network(x, level, return_dict=False)[0].square().mean().backward()  # noqa: E731
        weights = 4 * sum(value.numel() for value in network.parameters())
        beyond = most_bytes(run)  # gradients and activations; then two moments, the average and the weights themselves
        return {"activations and gradients": round(beyond / 1e6), "in all": round((beyond + 4 * weights) / 1e6)}

    rows = {
        "plain": count(1, False),
        "checkpointing": count(1, True),
        "checkpointing, accumulate 4": count(4, True),
    }
    return {"network": "base", "batch": batch, "patch": patch, "precision": "fp32", "megabytes": rows}


def main(
    data: Annotated[list[Path], typer.Argument(help="Folders with RGB-D frames.")],
    size: Annotated[str, typer.Option(help="Network.")] = "small",
    batch: Annotated[int, typer.Option(help="Patches a step.")] = 48,
    patch: Annotated[int, typer.Option(help="Side of a patch.")] = 24,
    turns: Annotated[int, typer.Option(min=2, help="Turns of each loop.")] = 5,
    steps: Annotated[int, typer.Option(min=1, help="Steps a turn.")] = 2,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 2,
    compiled: Annotated[bool, typer.Option("--compile", help="Ours with torch.compile, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print images a second and their ratios, in float32 and in bfloat16, and bytes."""
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    settings = Settings(size=size, batch=batch, patch=patch, steps=10**6, workers=0)
    about = {"size": size, "batch": batch, "patch": patch, "threads": threads, "torch": torch.__version__}
    about |= {"device": f"{platform.machine()} CPU", "turns": turns, "steps": steps}
    about["load before"] = round(os.getloadavg()[0], 1)
    source, rows = open_source(data, settings), []
    for precision in ("fp32", "bf16"):
        loops = {
            "ours": our_loop(source, settings, precision),
            "plain": plain_loop(data, source, settings, precision),
            "network": network_alone(source, settings, precision),
            "loader": loader_alone(source, settings),
        }
        if compiled:
            loops["compiled"] = our_loop(source, dataclasses.replace(settings, compile=True), precision)
        found = rates(loops, turns=turns, steps=steps, batch=batch)
        row: dict[str, Any] = {"precision": precision}
        row |= {f"{name}_images_per_second": round(statistics.median(each), 1) for name, each in found.items()}
        row |= {
            "ours_over_plain": ratio(found, "ours", "plain"),
            "loader_over_network": ratio(found, "loader", "network"),
        }
        if compiled:
            row["compiled_over_plain"] = ratio(found, "compiled", "plain")
        rows.append(row)
    result = {**about, "throughput": rows, "memory": memory()}
    typer.echo(json.dumps(result, indent=2) if as_json else "\n".join(f"{k}: {v}" for k, v in result.items()))


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
