"""Which settings of ScoreLoss help where: six problems with a likelihood, fitted with each of a list of settings.

    python -m benchmarks.defaults ROOMS PRIOR [--json]

ROOMS is a folder of rooms of RGB-D frames, PRIOR one over r, g, b for the photos, as `scorereg train-prior ROOMS
--channels rgb` makes it. Adam, equal steps for all settings; PSNR in dB of what is shown, in prior space. Settings are
chosen on the images of `development`; `confirmation` has other images and other noise. By 240 steps a fit of the
data alone has ended or overfits; after 60, settings that pull hard look better than they are, as they arrive sooner.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from benchmarks.inverse_problems import Problem, make
from scorereg import ScoreLoss, schedules

__all__ = ["SETTINGS", "fit"]


def residual(per: float) -> Callable[[Tensor], Tensor]:
    """Weight with which the gradient is (x - D) / per^2, bounded as sigma falls."""
    return lambda sigma: (sigma / per).square()


def settings(steps: int) -> dict[str, dict[str, Any] | float | None]:
    """Arguments of ScoreLoss by name, or the weight of total variation in its place; None is the data alone."""
    falling = schedules.log_linear(0.3, 0.03, 0, steps)
    gently = schedules.log_linear(0.2, 0.05, 0, steps)
    early = schedules.log_linear(0.3, 0.1, 0, steps)
    return {
        "data alone": None,
        "score, 0.05": {"sigma": 0.05},
        "score, 0.1": {"sigma": 0.1},
        "default: score, 0.2": {},
        "score, 0.3 to 0.03": {"sigma": falling},
        "diffusionerf": {"sigma": schedules.diffusionerf(0, steps)},
        "residual, 0.3 to 0.03": {"sigma": falling, "weight": torch.square},
        "residual / 0.1^2, 0.2": {"sigma": 0.2, "weight": residual(0.1)},
        "residual / 0.05^2, 0.1": {"sigma": 0.1, "weight": residual(0.05)},
        "residual / 0.05^2, 0.2": {"sigma": 0.2, "weight": residual(0.05)},
        "residual / 0.05^2, 0.2 to 0.05": {"sigma": gently, "weight": residual(0.05)},
        "residual / 0.05^2, 0.3 to 0.1": {"sigma": early, "weight": residual(0.05)},
        "noised residual / 0.1^2, 0.2": {"sigma": 0.2, "weight": residual(0.1), "perturb": True},
        "default, noised": {"perturb": True},
        "default, depth alone": {"channel_weights": {"rgb": 0.0}},
        **{f"total variation, {weight:g}": weight for weight in (1.5, 5.0, 15.0)},
    }


def total_variation(x: Tensor) -> Tensor:
    """Sum of the absolute differences of neighbours, rounded at 0."""
    return sum(((x.diff(dim=axis) ** 2 + 4e-6).sqrt().sum() for axis in (-1, -2)), start=x.new_zeros(()))


SETTINGS = tuple(settings(2))
SIX = "nerf,splats,rays,deblur,inpaint,enlarge"


def fits(title: str, problem: Problem) -> bool:
    """Whether a setting is one for a problem: depth needs a channel of its own, total variation a photo."""
    depth, photo = "disparity" in problem.prior.channels, len(problem.prior.channels) == 3
    return (depth or "depth" not in title) and (photo or "total" not in title)


def fit(problem: Problem, given: dict[str, Any] | float | None, steps: int) -> float:
    """PSNR in dB at the end of a fit by Adam."""
    parameters = [start.clone().requires_grad_() for start in problem.start]
    optimizer = torch.optim.Adam(parameters, lr=problem.rate)
    loss = ScoreLoss(problem.prior, **given) if isinstance(given, dict) else None
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        optimizer.zero_grad()
        x = problem.show(*parameters)
        total = problem.data(x, *parameters)
        if loss is not None:
            seen = x if problem.seen is None else problem.seen(generator, *parameters)
            total = total + loss(seen, step=step, generator=generator)
        elif isinstance(given, float):
            total = total + given * total_variation(x)
        total.backward()
        optimizer.step()
    with torch.no_grad():
        return problem.psnr(problem.show(*parameters))


def main(
    rooms: Annotated[Path, typer.Argument(help="Folder of rooms of RGB-D frames.")],
    prior: Annotated[str, typer.Argument(help="A prior over r, g, b.")],
    problems: Annotated[str, typer.Option(help="Names, with commas; there is trial as well.")] = SIX,
    parts: Annotated[str, typer.Option(help="development, confirmation, or both.")] = "development,confirmation",
    only: Annotated[str, typer.Option(help="Only settings whose name contains this.")] = "",
    steps: Annotated[int, typer.Option(min=2, help="Steps of Adam.")] = 240,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the PSNR of every setting on every problem."""
    torch.set_num_threads(1)
    results = []
    for part in parts.split(","):
        for name in problems.split(","):
            torch.manual_seed(0)
            problem = make(name, rooms, part, prior)
            for title, given in settings(steps).items():
                if only not in title or not fits(title, problem):
                    continue
                begun = time.process_time()
                reached = round(fit(problem, given, steps), 3)
                seconds = round(time.process_time() - begun, 1)
                results.append({"problem": name, "part": part, "setting": title, "psnr": reached, "seconds": seconds})
                typer.echo(f"{name:8} {part:12} {title:32} {reached:7.2f} dB {seconds:6.1f} s", err=as_json)
    if as_json:
        typer.echo(json.dumps({"steps": steps, "results": results}, indent=1))


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
