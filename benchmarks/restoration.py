"""Patches with 70 % of their pixels missing or blurred by 1.2, restored here and by DeepInverse with one denoiser.

    python -m benchmarks.restoration PRIOR [--develop] [--json FILE]

PRIOR is a prior over r, g, b. Each method may call the network as often as the others (`CALLS`), for each of 24 x 24
patches; settings were chosen on the photos of `--develop`, the figures are of others. DeepInverse (0.5 or newer) is
installed by the reader; without it only this library's rows are made.
"""

import dataclasses
import importlib
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from examples.inverse_problems.operators import blur
from examples.inverse_problems.photos import CONFIRM, DEVELOP, patches
from scorereg import as_deepinv, load_prior, restore
from scorereg.cli import one_line_errors
from scorereg.priors import NetworkPrior, Prior

NOISE, SIDE, CALLS = 0.04, 24, 60
Method = Callable[[Callable[[Tensor], Tensor], Tensor, str], Tensor]


def main(
    prior: Annotated[str, typer.Argument(help="A prior over r, g, b: a name or a folder.")],
    data: Annotated[Path, typer.Option(envvar="SCOREREG_DATA", help="Folder with rooms-eval.")] = Path("data"),
    develop: Annotated[bool, typer.Option(help="All settings, on the photos they are chosen on.")] = False,
    each: Annotated[int, typer.Option(help="Patches of each photo.")] = 4,
    out: Annotated[Path | None, typer.Option("--json", help="File to write the figures to.")] = None,
) -> None:
    """Print and write PSNR by method and problem."""
    names = DEVELOP if develop else CONFIRM
    x = patches(names, each, SIDE, data)
    denoiser = of_size(load_prior(prior), SIDE)
    rows = []
    for name, method in methods(denoiser, develop):
        row: dict[str, Any] = {"method": name}
        began = time.process_time()
        for problem, measure, y in problems(x):
            row[problem] = round(psnr(method(measure, y, problem), x), 2)
        row["cpu_seconds"] = round(time.process_time() - began, 1)
        rows.append(row)
        print("  ".join(f"{value!s:>8}" for value in row.values()), flush=True)
    if out:
        about = {"prior": prior, "photos": names, "patches": len(x), "noise": NOISE, "calls": CALLS, "side": SIDE}
        text = json.dumps({**about, "machine": platform.processor() or platform.machine(), "rows": rows}, indent=1)
        out.write_text(text + "\n", encoding="utf-8")


def of_size(prior: Any, side: int) -> Prior:
    """The same network for patches of another side: it is convolutional."""
    if not isinstance(prior, NetworkPrior):
        return prior
    return NetworkPrior(prior.network, dataclasses.replace(prior.card, size=(side, side))).eval()


def problems(x: Tensor) -> Iterator[tuple[str, Callable[[Tensor], Tensor], Tensor]]:
    """Each problem by name: operator and measurement."""
    generator = torch.Generator().manual_seed(1)
    mask = missing(x)
    noise = NOISE * torch.randn(x.shape, generator=generator)
    yield "inpaint", lambda u: u * mask, (x + noise) * mask
    yield "deblur", lambda u: blur(u, 1.2), blur(x, 1.2) + noise


def missing(x: Tensor) -> Tensor:
    """One mask for all patches, 0 at 70 % of the pixels."""
    return (torch.rand(1, 1, *x.shape[2:], generator=torch.Generator().manual_seed(1)) > 0.7).to(x)


def methods(prior: Prior, develop: bool) -> Iterator[tuple[str, Method]]:
    """Each method by name."""
    hqs = [(0.25, 0.02), (0.15, 0.02), (0.25, 0.04)] if develop else [(0.25, 0.02)]
    for weight, last in hqs:
        settings = {"weight": weight, "sigma": (1.0, last), "steps": CALLS}
        yield f"restore hqs, weight {weight}, last sigma {last}", ours(prior, **settings)
    for draws in (3, 5) if develop else (3,):
        yield f"restore mean of {draws}", ours(prior, method="mean", draws=draws, steps=CALLS // draws)
    try:
        deepinv = importlib.import_module("deepinv")
    except ImportError as error:  # also of what it needs itself, such as torchvision
        print(f"DeepInverse's rows are left out: {error}", file=sys.stderr)
        return
    yield from theirs(deepinv, prior, develop)


def ours(prior: Prior, **settings: Any) -> Method:
    """`restore` with settings."""
    given = {"noise": NOISE, "data_range": (0, 1), "show": False, **settings}
    return lambda measure, y, _: restore(measure, y, prior, **given).image


def theirs(deepinv: Any, prior: Prior, develop: bool) -> Iterator[tuple[str, Method]]:
    """DeepInverse's samplers and plug-and-play methods with the same denoiser."""
    denoiser, fidelity = as_deepinv(prior), deepinv.optim.L2()
    for weight in (10.0, 30.0, 100.0, 300.0, 1000.0) if develop else (100.0, 300.0):

        def dps(_: Any, y: Tensor, problem: str, weight: float = weight) -> Tensor:
            model = deepinv.sampling.DPS(
                denoiser, num_steps=CALLS + 1, weight=weight, rng=torch.Generator().manual_seed(0)
            )
            return model(y, physics_of(deepinv, problem, y)).float()

        yield f"DeepInverse DPS, weight {weight:g}", dps
    for lam, zeta in ((7, 0.1), (7, 1.0), (2, 1.0)) if develop else ((7, 0.1), (2, 1.0)):

        def diffpir(_: Any, y: Tensor, problem: str, lam: float = lam, zeta: float = zeta) -> Tensor:
            model = deepinv.sampling.DiffPIR(denoiser, fidelity, sigma=NOISE, max_iter=CALLS, lambda_=lam, zeta=zeta)
            return model(y, physics_of(deepinv, problem, y), seed=1)

        yield f"DeepInverse DiffPIR, lambda {lam}, zeta {zeta:g}", diffpir
    for level in (0.03, 0.06, 0.12) if develop else (0.06, 0.12):

        def pnp(_: Any, y: Tensor, problem: str, level: float = level) -> Tensor:
            settings = {"stepsize": 1.0, "g_param": level}
            model = deepinv.optim.optim_builder(
                "PGD", prior=deepinv.optim.PnP(denoiser), data_fidelity=fidelity, max_iter=CALLS, params_algo=settings
            )
            with torch.no_grad():
                return model(y, physics_of(deepinv, problem, y))

        yield f"DeepInverse PnP-PGD, sigma {level:g}", pnp

    def dpir(_: Any, y: Tensor, problem: str) -> Tensor:
        levels = torch.logspace(torch.tensor(49 / 255).log10(), torch.tensor(NOISE).log10(), CALLS)
        settings = {"stepsize": ((levels / NOISE) ** 2 / 0.23).tolist(), "g_param": levels.tolist()}
        model = deepinv.optim.optim_builder(
            "HQS", prior=deepinv.optim.PnP(denoiser), data_fidelity=fidelity, max_iter=CALLS, params_algo=settings
        )
        with torch.no_grad():
            return model(y, physics_of(deepinv, problem, y))

    yield "DeepInverse DPIR (PnP-HQS)", dpir


def physics_of(deepinv: Any, problem: str, y: Tensor) -> Any:
    """The same operator as DeepInverse's."""
    noise = deepinv.physics.GaussianNoise(NOISE)
    if problem == "inpaint":
        return deepinv.physics.Inpainting(img_size=tuple(y.shape[1:]), mask=missing(y)[0], noise_model=noise)
    operator = deepinv.physics.LinearPhysics(
        A=lambda u, **_: blur(u, 1.2),
        A_adjoint=lambda v, **_: _adjoint(v),
        noise_model=noise,
    )
    return operator


def _adjoint(v: Tensor) -> Tensor:
    with torch.enable_grad():
        u = torch.zeros_like(v, requires_grad=True)
        return torch.autograd.grad(blur(u, 1.2), u, v)[0]


def psnr(image: Tensor, truth: Tensor) -> float:
    """Mean over patches of -10 log10 of the mean squared error, of images cut to [0, 1]."""
    return (-10 * (image.clamp(0, 1) - truth).square().flatten(1).mean(1).log10()).mean().item()


if __name__ == "__main__":
    with one_line_errors():
        typer.run(main)
