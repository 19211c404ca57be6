"""What ScoreLoss costs beyond the network: its forward and backward against one bare network forward.

    python -m benchmarks.score_loss [--json]

Each repeat times the three in turn, in an order that rotates, on the same prior, patch and sigma, so that a machine
that is busy elsewhere slows them alike. `loss_ratio` is the median of loss / bare over the repeats, the target 1.03.
`hook` is the same by `loss.hook`. The bare forward runs as it would for sampling: no graph, one sigma per patch.

On the CPU the time is that of the process, which other processes disturb less than the clock on the wall. Memory is
the most that tensors hold at once beyond what was there before: of the allocator on CUDA, else counted by a dispatch
mode, which does not see the workspace inside an operation. The target is 1.1 of the bare forward.
"""

import json
import platform
import statistics
import time
from collections.abc import Callable
from typing import Annotated, Any

import torch
import typer

from benchmarks.memory import most_bytes
from scorereg import NetworkPrior, PriorCard, ScoreLoss
from scorereg.priors.load import ZOO, shipped_priors
from scorereg.priors.networks import NETWORK_SIZES, build_network

CHANNELS = ("r", "g", "b", "disparity")


def load(name: str) -> NetworkPrior:
    """Return a shipped prior, or an untrained network of a named size, which costs the same as a trained one."""
    if name in shipped_priors():
        return NetworkPrior.load(ZOO / name)
    network = build_network(name, patch_size=24, channels=len(CHANNELS))
    about = {"patchify": NETWORK_SIZES[name]["patchify"]}
    card = PriorCard(name=name, channels=CHANNELS, size=(24, 24), sigma_min=0.002, sigma_max=2.0, network=about)
    return NetworkPrior(network, card).eval().requires_grad_(False)


def contenders(prior: NetworkPrior, batch: int, device: str, normalize: str | None) -> dict[str, Callable[[], None]]:
    """What is timed, by name."""
    patch = (0.3 * torch.randn(batch, len(prior.channels), *prior.card.size, device=device)).requires_grad_()
    sigma = torch.full((batch,), 0.1, device=device)
    loss = ScoreLoss(prior, sigma=0.1, normalize=normalize)  # pyright: ignore[reportArgumentType]
    downstream = torch.zeros_like(patch)

    def bare() -> None:
        with torch.no_grad():
            prior(patch, sigma)

    def with_loss() -> None:
        patch.grad = None
        loss(patch).backward()

    def with_hook() -> None:
        patch.grad = None
        loss.hook(patch).backward(downstream)

    return {"bare": bare, "loss": with_loss, "hook": with_hook}


def measure(runs: dict[str, Callable[[], None]], repeats: int, device: str) -> dict[str, list[float]]:
    """Return seconds of each run, by name, interleaved."""
    clock = time.perf_counter if device == "cuda" else time.process_time
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for repeat in range(-3, repeats):  # the first three only warm up
        for name in names[repeat % len(names) :] + names[: repeat % len(names)]:
            _wait(device)
            start = clock()
            runs[name]()
            _wait(device)
            if repeat >= 0:
                seconds[name].append(clock() - start)
    return seconds


def memory(run: Callable[[], None], device: str) -> int:
    """Return the most bytes that a run holds at once beyond what was held before."""
    run()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return torch.cuda.max_memory_allocated() - before
    return most_bytes(run)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _summary(seconds: dict[str, list[float]]) -> dict[str, float]:
    summary = {f"{name}_ms": 1e3 * statistics.median(times) for name, times in seconds.items()}
    for name in ("loss", "hook"):
        pairs = zip(seconds[name], seconds["bare"], strict=True)
        summary[f"{name}_ratio"] = statistics.median(timed / bare for timed, bare in pairs)
    return {key: round(value, 4) for key, value in summary.items()}


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else f"{platform.machine()} CPU"


def _line(result: dict[str, Any]) -> str:
    r = result
    return (
        f"{r['prior']}, batch {r['batch']}, normalize={r['normalize']}: bare {r['bare_ms']} ms, "
        f"loss {r['loss_ms']} ms ({r['loss_ratio']}), hook {r['hook_ms']} ms ({r['hook_ratio']}), "
        f"memory {r['loss_memory_ratio']}"
    )


def main(
    prior: Annotated[
        str, typer.Option(help="A shipped prior, or tiny, small, base for an untrained one.")
    ] = "rooms-rgbd-24",
    batch: Annotated[list[int] | None, typer.Option(min=1, help="Patches a call; 1, 8 and 32 if not given.")] = None,
    repeats: Annotated[int, typer.Option(min=5, help="Repeats after the warm-up.")] = 60,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the medians and their ratios, with and without the gradient budget."""
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    network = load(prior).to(device)
    about = {"prior": prior, "repeats": repeats, "threads": threads, "torch": torch.__version__}
    about["device"] = _device_name(device)
    results = []
    for size in batch or [1, 8, 32]:
        for normalize in (None, "rms"):
            runs = contenders(network, size, device, normalize)
            taken = _summary(measure(runs, repeats, device))
            held = {name: memory(run, device) for name, run in runs.items()}
            taken |= {f"{name}_memory_ratio": round(held[name] / held["bare"], 4) for name in ("loss", "hook")}
            results.append({**about, "batch": size, "normalize": normalize, **taken})
    typer.echo(json.dumps(results, indent=2) if as_json else "\n".join(_line(result) for result in results))


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
