"""What each score estimator costs and gains: completing the depth of held-out patches from a few of its pixels.

    python -m benchmarks.estimators DATA [--json]

The colours of a patch and a share of its disparities are known; gradient descent moves the others. Every estimator has
the same steps, the same falling sigma, and the weight with which its gradient is x - D(x) but for the noise, so direct
and RED become one; what is compared is the noise and what the prior is held against. `error` is the RMSE over unknown
disparities, in prior space, as a ratio to that of filling in the mean of the known ones; `cost` is the CPU time of a
loss, forward and backward, as a ratio to a bare forward of the network; for VSD with the
training of its `RenderDenoiser`.

Direct, SDS, SJC and SDI go to what is most expected, VSD to a sample: at the same knowledge its error is larger.
"""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import typer
from jaxtyping import Bool, Float
from torch import Tensor

from scorereg import NetworkPrior, ScoreLoss, load_prior, schedules
from scorereg.data import PatchSpec
from scorereg.data.frames import find_frames, load_pyramid, split_scenes
from scorereg.data.frames.augment import plain_patches
from scorereg.estimators import EstimatorName, by_name
from scorereg.score_loss.vsd import RenderDenoiser

RATE = 0.3  # of the way to what the prior expects, in each step


def contenders(prior: NetworkPrior, sigma: Callable[[int], float]) -> dict[str, ScoreLoss]:
    """The estimators by name, all with the weight with which the gradient is x - D(x) in expectation."""
    names: dict[str, EstimatorName] = {
        "direct, RED": "direct",
        "SDS, SJC, RED-diff": "sds",
        "SJC, not reduced": "sjc-unreduced",
        "SDI": "sdi",
        "VSD": "vsd",
    }
    denoiser = RenderDenoiser(prior)
    return {
        title: by_name(name, prior, w=torch.square, render_denoiser=denoiser, sigma=sigma)
        for title, name in names.items()
    }


def held_out(prior: NetworkPrior, data: Path, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Patches of scenes that training would hold out, and weights, 0 where depth is unknown."""
    _, frames, _ = split_scenes(find_frames([data]))
    card = prior.card
    assert card.focal is not None
    assert card.d_min is not None
    spec = PatchSpec(card.size[0], focal=card.focal, d_min=card.d_min)
    return plain_patches(load_pyramid(frames, spec), count, spec, torch.Generator().manual_seed(seed))


def complete(
    loss: ScoreLoss, start: Float[Tensor, "b c h w"], known: Bool[Tensor, "b c h w"], sigma: Callable[[int], float],
    steps: int,
) -> tuple[Float[Tensor, "b c h w"], list[float]]:  # fmt: skip
    """Return the completed patches, and the CPU seconds of each step, for VSD with the training of its denoiser."""
    x, seconds = start.clone().requires_grad_(), []
    optimiser = torch.optim.SGD([x], lr=RATE * len(x))
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        optimiser.zero_grad()
        begun = time.process_time()
        if isinstance(loss.control, RenderDenoiser):
            loss.control.learn(x, sigma(step), generator)
        loss(x, step=step, known=known, generator=generator).backward()
        seconds.append(time.process_time() - begun)
        optimiser.step()
    return x.detach(), seconds


def bare_seconds(prior: NetworkPrior, x: Tensor) -> float:
    """Median CPU seconds of the network alone."""
    seconds, sigma = [], torch.full((len(x),), 0.1)
    for _ in range(10):
        begun = time.process_time()
        with torch.no_grad():
            prior(x, sigma)
        seconds.append(time.process_time() - begun)
    return statistics.median(seconds[2:])


def main(
    data: Annotated[Path, typer.Argument(help="Folder of RGB-D frames.")],
    prior: Annotated[str, typer.Option(help="A prior over r, g, b, disparity.")] = "rooms-rgbd-24",
    count: Annotated[int, typer.Option(min=1, help="Patches.")] = 32,
    steps: Annotated[int, typer.Option(min=2, help="Optimisation steps.")] = 100,
    first: Annotated[float, typer.Option(min=0.0, help="Noise level to begin with.")] = 0.2,
    last: Annotated[float, typer.Option(min=0.0, help="Noise level to end with.")] = 0.02,
    share: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of the disparities that are known.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Chooses patches and known pixels.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print cost and error of every estimator."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    network = load_prior(prior)
    assert isinstance(network, NetworkPrior)
    truth, weight = held_out(network, data, count, seed)
    seen = (torch.rand(truth[:, 3:].shape) < share) & (weight[:, 3:] > 0)
    known = torch.cat([torch.ones_like(truth[:, :3], dtype=torch.bool), seen], 1)
    mean = (truth[:, 3:] * seen).sum((2, 3), keepdim=True) / seen.sum((2, 3), keepdim=True).clamp(min=1)
    start = torch.cat([truth[:, :3], torch.where(seen, truth[:, 3:], mean)], 1)
    asked = (weight[:, 3] > 0) & ~seen[:, 0]

    def error(x: Tensor) -> float:
        return (x - truth)[:, 3][asked].square().mean().sqrt().item()

    sigma = schedules.log_linear(first, last, 0, steps)
    results = []
    for name, loss in contenders(network, sigma).items():
        bare = bare_seconds(network, start)
        done, seconds = complete(loss, start, known, sigma, steps)
        ratios = {"cost": statistics.median(seconds) / bare, "error": error(done) / error(start)}
        results.append({"estimator": name, **{key: round(value, 3) for key, value in ratios.items()}})
        if not as_json:
            typer.echo(f"{name:>19}: cost {ratios['cost']:.2f}, error {ratios['error']:.3f}")
    if as_json:
        about = {
            "prior": prior,
            "data": data.name,
            "count": count,
            "steps": steps,
            "sigma": [first, last],
            "share": share,
            "seed": seed,
        }
        typer.echo(json.dumps({**about, "baseline_rmse": round(error(start), 4), "results": results}, indent=2))


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
